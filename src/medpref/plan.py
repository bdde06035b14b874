"""What a recipe would take, before anything is launched: tokens, FLOPs, seconds and bytes of an optimiser step.

Reads a recipe, a policy's configuration (no weights) and either real pairs or statistics of their lengths.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from medpref import store
from medpref.engine.encode import EncodedPair, encode_pair, required_branches
from medpref.engine.images import ImageStore
from medpref.engine.pack import count_nodes
from medpref.errors import RecipeError
from medpref.models.policy import Policy
from medpref.objectives.objective import Objective, parse_objective
from medpref.recipe import Recipe, Train
from medpref.schema import CLEAN, PreferencePair
from medpref.trace import Trace, draw_pairs
from medpref.training.activation import bytes_kept
from medpref.training.adapter import prepare
from medpref.training.planner import SHARE_OF_MEMORY, Checkpointing, Forecast, forecast, free_bytes, step_loads

CHOICES: tuple[Checkpointing, ...] = ("none", "layer")
IMAGE_PX, IMAGE_TOKENS = 512, 576
EFFICIENCY = 0.35
"""The share of a large matrix product's rate that training reaches; measured on CPU cores, assumed elsewhere."""
STEPS_READ = 32
"""Optimiser steps of which statistics are drawn; a longer epoch is taken to go on like them."""


@dataclass(frozen=True)
class Machine:
    """Memory in bytes, of which ``SHARE_OF_MEMORY`` may be used, and the FLOP/s of a large matrix product."""

    limit_bytes: int
    rate: float

    @property
    def usable_bytes(self) -> int:
        return int(SHARE_OF_MEMORY * self.limit_bytes)


def this_machine(*, memory: str = "", tflops: float | None = None, dtype: str = "float32") -> Machine:
    """The device that training would run on; ``memory`` (such as 24GiB) and ``tflops`` stand for another one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    limit = parse_bytes(memory) if memory else free_bytes(device)
    return Machine(limit, tflops * 1e12 if tflops else _product_rate(device, getattr(torch, dtype)))


def parse_bytes(text: str) -> int:
    """Bytes of ``24GiB``, ``24GB`` or ``16384MiB``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)B?", text.strip(), flags=re.IGNORECASE)
    if found is None:
        raise RecipeError(f"--memory {text}", given="no size", expected="such as 24GiB", todo="write number and unit")
    power = "KMGT".index(found[2][0].upper()) + 1
    return int(float(found[1]) * (1024 if len(found[2]) == 2 else 1000) ** power)


def _product_rate(device: str, dtype: torch.dtype) -> float:
    size = 8192 if device == "cuda" else 768
    left = torch.randn(size, size, device=device, dtype=dtype)
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        float((left @ left)[0, 0])
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


@dataclass(frozen=True)
class Question:
    """What is asked: the recipe, the policy, pairs of ``total_pairs`` (with what they are grouped by), the machine."""

    recipe: Recipe
    policy: Policy
    pairs: Sequence[EncodedPair]
    groups: Sequence[str]
    total_pairs: int
    machine: Machine
    said: str

    @property
    def objective(self) -> Objective:
        return parse_objective(list(self.recipe.objective), where=f"recipe {self.recipe.name}, objective")


@dataclass(frozen=True)
class Answer:
    """The forecast with the recipe's settings; ``fix`` are the settings with the least work that fit.

    None where the recipe's own are these, or where nothing fits.
    """

    question: Question
    settings: Train
    forecast: Forecast
    fix: tuple[Train, Forecast] | None

    @property
    def fits(self) -> bool:
        return self.forecast.memory.total <= self.question.machine.usable_bytes


def ask_trace(recipe: Recipe, policy: Policy, trace: Trace, machine: Machine) -> Question:
    """A question about pairs of which only statistics are known."""
    image = trace.image or _image_tokens(policy)
    branches = required_branches(parse_objective(list(recipe.objective)).needs)
    pairs = draw_pairs(trace.model_copy(update={"image": image}), branches, limit=STEPS_READ * recipe.train.batch)
    groups = [next(b for b in pair.branches.values() if b.view == CLEAN).images[0] for pair in pairs]
    said = (
        f"{trace.pairs} pairs, {trace.per_image:g} an image: {image} image and {trace.prompt} prompt tokens, replies of"
    )
    said = f"{said} {trace.chosen} and {trace.rejected}"
    return Question(recipe, policy, pairs, groups, trace.pairs, machine, said)


def _image_tokens(policy: Policy) -> int:
    """The image tokens of a square image of ``IMAGE_PX`` pixels; a common number where there is no processor to ask."""
    if policy.processor is None:
        return IMAGE_TOKENS
    pixels = policy.pixels([Image.new("RGB", (IMAGE_PX, IMAGE_PX))])
    return policy.prompt_ids("?", pixels).count(policy.family.image_token_id(policy.model))


def ask_pairs(recipe: Recipe, policy: Policy, folder: Path, machine: Machine) -> Question:
    """A question about the pairs of a run folder's ``pairs/NAME``, which are tokenised."""
    if policy.processor is None:
        given = "a configuration without a processor"
        raise RecipeError(policy.spec, given=given, expected="one, to tokenise pairs", todo="use --trace")
    pairs = store.read_lines(store.require(folder, "pairs.jsonl"), PreferencePair)
    images = ImageStore(policy)
    needs = parse_objective(list(recipe.objective)).needs
    root = folder.resolve().parent.parent
    encoded = [encode_pair(policy, pair, root, needs, images) for pair in pairs]
    groups = [pair.views[CLEAN][0].sha256 for pair in pairs]
    said = f"{len(pairs)} pairs on {len(set(groups))} images, from {folder}"
    return Question(recipe, policy, encoded, groups, len(pairs), machine, said)


def answer(question: Question, *, seed: int = 0) -> Answer:
    """The forecast, with checkpointing as the settings say or as ``auto`` comes to, and a fix where it does not fit."""
    settings = question.recipe.train
    policy = prepare(question.policy, settings, seed=seed)
    asked = replace(question, policy=policy)
    each = bytes_kept(policy)

    def look(train: Train, checkpointing: Checkpointing) -> Forecast:
        loads = step_loads(asked.pairs, asked.groups, asked.objective, train, seed=seed)
        return forecast(policy, loads, each=each, checkpointing=checkpointing, device="cpu")

    fits = question.machine.usable_bytes
    first = look(settings, "none" if settings.checkpointing == "auto" else settings.checkpointing)
    if settings.checkpointing == "auto" and first.memory.total > fits:
        first = look(settings, "layer")
    if first.memory.total <= fits and first.checkpointing == "none":
        return Answer(asked, settings, first, None)
    most = first.work.total if first.memory.total <= fits else math.inf
    least = max(count_nodes([pair], asked.objective.needs) for pair in asked.pairs)
    found = [(train, look(train, how)) for train, how in _smaller(settings, first, least)]
    better = [one for one in found if one[1].memory.total <= fits and one[1].work.total < most]
    return Answer(asked, settings, first, min(better, key=lambda one: one[1].work.total, default=None))


def _smaller(settings: Train, first: Forecast, least: int) -> Iterator[tuple[Train, Checkpointing]]:
    """Settings with smaller micro-steps, down to ``least`` tokens (the largest pair), with either checkpointing."""
    budget = min(settings.max_tokens_per_batch, first.largest.nodes)
    while budget >= least:
        for how in CHOICES:
            yield settings.model_copy(update={"max_tokens_per_batch": budget, "checkpointing": how}), how
        budget = max(least, budget // 2) if budget > least else 0
