"""Which arms a workload has, and the least work that its objective can be computed with."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from measure.naive import Naive
from measure.ours import Ours, adapted
from measure.theirs import Theirs, tune
from measure.workloads import Data, Workload
from medpref.engine.pack import pack
from medpref.models.policy import Policy
from medpref.training.cost import read_load, read_sizes, reading_work, training_work

ARMS = ("trl_default", "trl_tuned", "trl_own_head", "naive", "plain", "online", "cold", "layered", "warm")
EVERY = {"trl_own_head": 7, "naive": 3, "plain": 3}
"""Arms of no target ratio run in every n-th round only; TRL's own CPU head scores every position."""
FEWER = {"D4own": ("trl_default", "naive", "online", "cold", "warm")}


@dataclass
class Bench:
    """A workload with its data and the policy that every arm starts from. ``tried`` are TRL's micro-batches."""

    policy: Policy
    workload: Workload
    data: Data
    settings: argparse.Namespace
    tried: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The arms that this workload has on this device."""
        views = len(self.workload.views)
        cuda = self.settings.device == "cuda"
        names = ["trl_default", "trl_tuned"] if find_spec("trl") else []
        names += ["trl_own_head"] if names and not cuda and views == 1 else []
        names += ["naive"] if views > 1 or not names else []
        names += ["plain", "online", "cold", "layered", "warm"]
        asked = self.settings.arms or FEWER.get(self.workload.name, ARMS)
        return [name for name in names if name in (*asked, "warm")]

    def every(self, name: str) -> int:
        """An arm runs in every n-th round; a cold epoch on CUDA once, because hashing the weights dominates it."""
        return 1000 if name == "cold" and self.settings.device == "cuda" else EVERY.get(name, 1)


def make_arms(bench: Bench) -> dict[str, Any]:
    """The arms by name, each with adapters, optimiser and caches of its own over the same frozen weights."""
    given, settings = (bench.policy, bench.workload, bench.data), bench.settings
    how = {"backend": settings.backend, "max_tokens": settings.max_tokens}
    arms: dict[str, Any] = {"warm": Ours(*given, **how)}
    for name in bench.names:
        if name == "naive":
            arms[name] = Naive(*given)
        elif name == "trl_tuned":
            micro = settings.micro or _tuned(bench)
            arms[name] = Theirs(*given, checkpointing=False, micro=micro)
        elif name.startswith("trl"):
            arms[name] = Theirs(*given, own_head=name == "trl_own_head")
        elif name == "plain":
            arms[name] = Ours(*given, donor=arms["warm"], **{**how, "backend": "plain"})
        elif name == "layered":
            arms[name] = Ours(*given, donor=arms["warm"], layered=True, **how)
        elif name != "warm":
            arms[name] = Ours(*given, online=name == "online", **how)
    return {name: arms[name] for name in bench.names}


def predicted_flops(bench: Bench, arm: Any) -> float | None:
    """The FLOPs of an arm that no dispatch mode can look into; None for all others."""
    if getattr(arm, "backend", "") != "flex":
        return None
    sizes, needs = read_sizes(arm.policy), bench.workload.objective.needs
    packs = [
        [step[index] for index in chosen] for step in bench.data.steps for chosen in pack(step, needs, arm.max_tokens)
    ]
    loads = [read_load(pairs, needs) for pairs in packs]
    live = sum(reading_work(sizes, load).total for load in loads) if arm.online else 0.0
    return live + sum(training_work(sizes, load, checkpointing=arm.layered).total for load in loads)


def _tuned(bench: Bench) -> int:
    best, seconds = tune(bench.policy, bench.workload, bench.data)
    said = ", ".join(f"{micro}: {value:.2f} s" for micro, value in seconds.items())
    sys.stderr.write(f"  TRL without checkpointing, seconds a pair by micro-batch: {said}\n")
    bench.tried |= {"best": best, "seconds_a_pair": {str(micro): value for micro, value in seconds.items()}}
    return best


def floor_flops(bench: Bench) -> float:
    """The FLOPs that no exact method can save: every distinct token once forward and backward, attention over what it
    sees (two products forward, four backward), and the vocabulary products of the rows that are read.

    Features and the reference are counted as known.
    """
    sizes, needs = read_sizes(adapted(bench.policy)), bench.workload.objective.needs
    works = [training_work(sizes, read_load(pairs, needs)) for pairs in bench.data.steps]
    return sum(work.linears + work.attention * 12 / 14 + work.head for work in works)
