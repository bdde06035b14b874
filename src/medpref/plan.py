"""What a recipe would take, before anything is launched: tokens, FLOPs, seconds and bytes of an optimiser step.

Reads a recipe, a policy's configuration (no weights) and either real pairs or statistics of their lengths.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from medpref import store
from medpref.engine.encode import EncodedPair, encode_pair, required_branches
from medpref.engine.images import ImageStore
from medpref.errors import RecipeError
from medpref.models.outline import load_outline
from medpref.models.policy import Policy
from medpref.objectives.objective import Objective, parse_objective
from medpref.recipe import Recipe, Train
from medpref.schema import CLEAN, PreferencePair
from medpref.trace import Trace, draw_pairs
from medpref.training.activation import bytes_per_token
from medpref.training.adapter import prepare
from medpref.training.cost import reading_work, tower_work
from medpref.training.planner import SHARE_OF_MEMORY, Checkpointing, Forecast, forecast, free_bytes, step_loads

EFFICIENCY = 0.35
"""The share of a large matrix product's rate that training reaches (measured on two CPU cores; eager GPUs are alike)."""
STEPS_READ = 32
"""Optimiser steps of which statistics are drawn; a longer epoch is taken to go on like them."""


@dataclass(frozen=True)
class Question:
    """What is asked: the recipe, the policy and its dtype, the pairs, and the machine (bytes, FLOP/s)."""

    recipe: Recipe
    policy: Policy
    pairs: Sequence[EncodedPair]
    groups: Sequence[str]
    total_pairs: int
    limit_bytes: int
    rate: float
    said: str

    @property
    def objective(self) -> Objective:
        return parse_objective(list(self.recipe.objective), where=f"recipe {self.recipe.name}, objective")


@dataclass(frozen=True)
class Answer:
    """The forecast with the recipe's settings, and the cheapest settings that fit (None: nothing does)."""

    question: Question
    settings: Train
    forecast: Forecast
    fix: tuple[Train, Forecast] | None

    @property
    def fits(self) -> bool:
        return self.forecast.memory.total <= SHARE_OF_MEMORY * self.question.limit_bytes


def ask_trace(recipe: Recipe, policy: Policy, trace: Trace, *, limit_bytes: int, rate: float) -> Question:
    """A question about pairs of which only statistics are known."""
    branches = required_branches(parse_objective(list(recipe.objective)).needs)
    pairs = draw_pairs(trace, branches, limit=STEPS_READ * recipe.train.batch)
    groups = [next(b for b in pair.branches.values() if b.view == CLEAN).images[0] for pair in pairs]
    said = f"{trace.pairs} pairs, {trace.per_image:g} an image: {trace.image} + {trace.prompt} tokens and replies of"
    said = f"{said} {trace.chosen} and {trace.rejected}"
    return Question(recipe, policy, pairs, groups, trace.pairs, limit_bytes, rate, said)


def ask_pairs(recipe: Recipe, policy: Policy, folder: Path, *, limit_bytes: int, rate: float) -> Question:
    """A question about the pairs of a run folder's ``pairs/NAME``, which are tokenised."""
    if policy.processor is None:
        raise RecipeError(policy.spec, given="no processor beside the configuration", expected="one", todo="use --trace")
    pairs = store.read_lines(store.require(folder, "pairs.jsonl"), PreferencePair)
    images = ImageStore(policy)
    needs = parse_objective(list(recipe.objective)).needs
    root = folder.resolve().parent.parent
    encoded = [encode_pair(policy, pair, root, needs, images) for pair in pairs]
    groups = [pair.views[CLEAN][0].sha256 for pair in pairs]
    said = f"{len(pairs)} pairs on {len(set(groups))} images, from {folder}"
    return Question(recipe, policy, encoded, groups, len(pairs), limit_bytes, rate, said)


def answer(question: Question, *, seed: int = 0) -> Answer:
    """The forecast, with checkpointing as the settings say or as ``auto`` comes to, and a fix where it does not fit."""
    settings = question.recipe.train
    policy = prepare(question.policy, settings, seed=seed)
    asked = replace(question, policy=policy)
    per_token = bytes_per_token(policy)

    def look(train: Train, checkpointing: Checkpointing) -> Forecast:
        loads = step_loads(asked.pairs, asked.groups, asked.objective, train, seed=seed)
        return forecast(policy, loads, per_token=per_token, checkpointing=checkpointing, device="cpu")

    fits = SHARE_OF_MEMORY * question.limit_bytes
    first = look(settings, "none" if settings.checkpointing == "auto" else settings.checkpointing)
    if settings.checkpointing == "auto" and first.memory.total > fits:
        first = look(settings, "layer")
    if first.memory.total <= fits:
        return Answer(asked, settings, first, None)
    least = max(load.largest for step in first.steps for load in step)
    found = [(train, look(train, train.checkpointing)) for train in _cheaper(settings, first, least)]  # type: ignore[arg-type]
    fitting = [one for one in found if one[1].memory.total <= fits]
    return Answer(asked, settings, first, min(fitting, key=lambda one: one[1].work.total, default=None))


def _cheaper(settings: Train, first: Forecast, least: int) -> Iterator[Train]:
    """Settings with smaller micro-steps, with and without checkpointing; no pair of ``least`` tokens may be cut."""
    budget = min(settings.max_tokens_per_batch, 1 << math.ceil(math.log2(first.largest.nodes)))
    while True:
        for checkpointing in ("none", "layer"):
            yield settings.model_copy(update={"max_tokens_per_batch": budget, "checkpointing": checkpointing})
        if budget // 2 < 2 * least:
            return
        budget //= 2
