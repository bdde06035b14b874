"""Work, memory and activation checkpointing of a training, before it starts.

Knows: a prepared policy (its outline is enough), encoded pairs and the training settings. Does not know: how long a
FLOP takes; ``medpref plan`` does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from medpref.engine.encode import EncodedPair
from medpref.engine.pack import pack
from medpref.models.policy import Policy
from medpref.objectives.objective import Objective
from medpref.recipe import Train
from medpref.training.activation import Kept, Memory, bytes_kept, predict_memory
from medpref.training.cost import Load, Sizes, Work, read_load, read_sizes, training_work
from medpref.training.sampler import order

Checkpointing = Literal["none", "layer"]
SHARE_OF_MEMORY = 0.85
"""Of the free memory, what a prediction may use: allocators keep more than tensors hold."""


@dataclass(frozen=True)
class Forecast:
    """An epoch's optimiser steps: the loads of their micro-steps, the work of all, the peak of the worst."""

    sizes: Sizes
    steps: tuple[tuple[Load, ...], ...]
    checkpointing: Checkpointing
    work: Work
    memory: Memory

    @property
    def largest(self) -> Load:
        return max((load for step in self.steps for load in step), key=lambda load: load.nodes)


def step_loads(
    pairs: Sequence[EncodedPair], groups: Sequence[str], objective: Objective, settings: Train, *, seed: int
) -> tuple[tuple[Load, ...], ...]:
    """The micro-steps of each optimiser step of the first epoch, in the order that training takes."""
    needs = objective.needs
    indices = order(groups, seed=seed, epoch=0, grouped=settings.group_by_image)
    steps = []
    for start in range(0, len(indices), settings.batch):
        batch = [pairs[index] for index in indices[start : start + settings.batch]]
        packs = [range(len(batch))] if objective.batchwise else pack(batch, needs, settings.max_tokens_per_batch)
        steps.append(tuple(read_load([batch[index] for index in chosen], needs) for chosen in packs))
    return tuple(steps)


def forecast(
    policy: Policy, steps: tuple[tuple[Load, ...], ...], *, each: Kept, checkpointing: Checkpointing, device: str
) -> Forecast:
    """Work and memory of some steps; ``each`` is :func:`bytes_kept` of the policy."""
    sizes, layered = read_sizes(policy), checkpointing == "layer"
    works = [training_work(sizes, load, checkpointing=layered) for step in steps for load in step]
    total = Work(*(sum(getattr(work, part) for work in works) for part in ("linears", "attention", "head")))
    loads = [load for step in steps for load in step]
    memories = [predict_memory(sizes, load, each, checkpointing=layered, device=device) for load in loads]
    return Forecast(sizes, steps, checkpointing, total, max(memories, key=lambda memory: memory.total))


def choose_checkpointing(
    policy: Policy,
    pairs: Sequence[EncodedPair],
    groups: Sequence[str],
    objective: Objective,
    settings: Train,
    *,
    seed: int,
) -> Checkpointing:
    """What the settings say; for ``auto``, ``none`` where the predicted peak fits the free memory, else ``layer``.

    The policy's weights are on the device already and are not counted again.
    """
    if settings.checkpointing != "auto":
        return settings.checkpointing
    device = policy.base.device.type
    steps = step_loads(pairs, groups, objective, settings, seed=seed)
    found = forecast(policy, steps, each=bytes_kept(policy), checkpointing="none", device=device)
    extra = found.memory.total - found.sizes.weights * found.sizes.item
    return "none" if extra <= SHARE_OF_MEMORY * free_bytes(device) else "layer"


def checkpoint_layers(policy: Policy) -> None:
    """From here on every layer's forward runs again in its backward; the frozen tower is not touched.

    transformers then wants gradients of the embeddings, for checkpoints of the other kind; ours need none.
    """
    language = policy.base.get_submodule(policy.family.language)
    language.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    language.disable_input_require_grads()


def free_bytes(device: str) -> int:
    """Memory that the device has left for tensors."""
    if device == "cuda":
        held = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + held
    lines = Path("/proc/meminfo")
    if lines.exists():
        named = dict(line.split(":", 1) for line in lines.read_text(encoding="utf-8").splitlines())
        return int(named["MemAvailable"].split()[0]) << 10
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
