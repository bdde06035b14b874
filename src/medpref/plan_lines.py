"""The answer of ``plan.py`` as lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from medpref.models.outline import load_outline
from medpref.models.policy import Policy
from medpref.plan import (
    EFFICIENCY,
    IMAGE_PX,
    IMAGE_TOKENS,
    Answer,
    Question,
    answer,
    ask_pairs,
    ask_trace,
    this_machine,
)
from medpref.recipe import Train, load_recipe
from medpref.trace import parse_trace
from medpref.training.cost import reading_work, tower_work
from medpref.training.planner import Forecast

GIB = 2**30


def plan(
    name: str,
    policy: str,
    *,
    trace: str = "vqa",
    pairs: Path | None = None,
    memory: str = "",
    tflops: float | None = None,
    dtype: str = "float32",
    overrides: Sequence[str] = (),
) -> tuple[list[str], bool]:
    """Lines, and whether the step fits, for a recipe's name and a policy's spec: what ``medpref plan`` prints."""
    recipe = load_recipe(name, overrides=overrides, policy=policy)
    outline = load_outline(policy, dtype=dtype)
    machine = this_machine(memory=memory, tflops=tflops, dtype=dtype)
    if pairs is not None:
        question = ask_pairs(recipe, outline, pairs, machine)
    else:
        question = ask_trace(recipe, outline, parse_trace(trace), machine)
    found = answer(question)
    return lines(found), found.fits


def lines(given: Answer) -> list[str]:
    """What a step reads, computes, takes and holds; where it does not fit, the cheapest settings that do."""
    question, found = given.question, given.forecast
    said = [_policy(question, given.settings, found), f"pairs          {question.said}"]
    said += [_step(given), _work(found), *_seconds(question, given.settings, found), _memory(given)]
    said.append(f"checkpointing  {found.checkpointing} (train.checkpointing={given.settings.checkpointing})")
    return said if given.fits and given.fix is None else [*said, _fix(given)]


def _policy(question: Question, settings: Train, found: Forecast) -> str:
    sizes, policy = found.sizes, question.policy
    how = f"LoRA r={settings.lora.r}" if settings.lora else "the weights themselves"
    kind = str(policy.base.dtype).removeprefix("torch.")
    named = f"{policy.spec}: {_count(sizes.weights)} weights in {kind}, of which {_count(sizes.trained)} are trained"
    return f"policy         {named} ({how})"


def _step(given: Answer) -> str:
    steps = given.forecast.steps
    loads = [load for step in steps for load in step]
    nodes, asked = (sum(getattr(load, name) for load in loads) / len(steps) for name in ("nodes", "asked"))
    batch = f"{given.settings.batch} pairs in {len(loads) / len(steps):.3g} micro-step(s)"
    rows = sum(load.rows for load in loads) / len(steps)
    shared = f"{nodes:,.0f} distinct tokens of {asked:,.0f} ({asked / nodes:.1f}x shared), {rows:,.0f} vocabulary rows"
    return f"a step         {batch}: {shared}"


def _work(found: Forecast) -> str:
    work, steps = found.work, len(found.steps)
    parts = {"linears": work.linears, "attention": work.attention, "vocabulary": work.head}
    listed = ", ".join(f"{name} {value / work.total:.0%}" for name, value in parts.items())
    return f"work           {_flops(work.total / steps)} a step ({listed})"


def _seconds(question: Question, settings: Train, found: Forecast) -> list[str]:
    rate = question.machine.rate * EFFICIENCY
    step = found.work.total / len(found.steps) / rate
    epoch = math.ceil(question.total_pairs / settings.batch)
    steps = settings.steps or math.ceil(epoch * settings.epochs)
    assumed = f"{question.machine.rate / 1e12:.3g} TFLOP/s at {EFFICIENCY:.0%}"
    first = _first(question, settings, found, share=min(1.0, steps / epoch))
    said = [f"time           {_time(step)} a step, {_time(step * steps)} for {steps} steps ({assumed})"]
    return [*said, f"once           {_flops(first)}, {_time(first / rate)}: image features and what the reference says"]


def _first(question: Question, settings: Train, found: Forecast, *, share: float) -> float:
    """The work before step 1 (or, with the reference online, of all steps)."""
    loads = [load for step in found.steps for load in step]
    scale = share * question.total_pairs / len(question.pairs)
    needs = question.objective.needs
    referred = sum(reading_work(found.sizes, load).total for load in loads) if needs.reference | needs.divergence else 0
    if settings.reference == "online":
        referred *= settings.epochs
    studies = frozenset(study for load in loads for study in load.studies)
    return scale * (referred + len(studies) * tower_work(found.sizes, _patches(question.policy, found)))


def _patches(policy: Policy, found: Forecast) -> int:
    """Patches of one image; its image tokens where there is no processor to ask."""
    if policy.processor is None:
        return IMAGE_TOKENS
    pixels = policy.pixels([Image.new("RGB", (IMAGE_PX, IMAGE_PX))])["pixel_values"]
    return max(1, pixels.numel() // found.sizes.patch)


def _memory(given: Answer) -> str:
    memory, machine = given.forecast.memory, given.question.machine
    parts = {
        "weights and optimiser": memory.parameters,
        "activations": memory.activations,
        "passing": memory.passing,
        "features": memory.features,
    }
    listed = ", ".join(f"{name} {_bytes(value)}" for name, value in parts.items())
    verdict = "fits" if given.fits else "does NOT fit"
    room = f"{_bytes(machine.usable_bytes)} of {_bytes(machine.limit_bytes)}"
    return f"memory         {_bytes(memory.total)} at the peak ({listed}): {verdict} {room}"


def _fix(given: Answer) -> str:
    if given.fix is None:
        smaller = "load the policy in bfloat16" if given.forecast.sizes.item > 2 else "choose a smaller policy"
        if given.settings.lora is None:
            smaller = "train an adapter (--set train.lora={})"
        return f"fix            none of the settings fits; {smaller}, or take a device with more memory"
    settings, found = given.fix
    options = [f"train.checkpointing={settings.checkpointing}"]
    if settings.max_tokens_per_batch < given.settings.max_tokens_per_batch:
        options.append(f"train.max_tokens_per_batch={settings.max_tokens_per_batch}")
    more = found.work.total / given.forecast.work.total - 1
    chosen = " ".join(f"--set {option}" for option in options)
    label = "cheaper" if given.fits else "fix"
    return f"{label:<14} {chosen}: {_bytes(found.memory.total)} at the peak, {more:+.0%} work"


def _count(number: float) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"


def _flops(number: float) -> str:
    for name, unit in (("PFLOP", 1e15), ("TFLOP", 1e12)):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number / 1e9:.3g} GFLOP"


def _bytes(number: float) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / 2**20:.0f} MiB"


def _time(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.2g} s"
