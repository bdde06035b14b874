"""Arms timed side by side: every arm once a round, so that a busy machine slows all of them alike."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Arm:
    """Something to time: ``step`` does the round's work and returns a loss. ``every`` n-th round only."""

    name: str
    step: Callable[[], float]
    every: int = 1


def synchronise() -> None:
    """Wait for the device, where there is one to wait for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """Seconds and the loss of one piece of work."""
    gc.collect()
    synchronise()
    began = time.perf_counter()
    loss = work()
    synchronise()
    return time.perf_counter() - began, loss


def interleave(arms: Sequence[Arm], rounds: int) -> tuple[dict[str, dict[int, float]], dict[str, float]]:
    """Seconds by arm and round, and each arm's last loss. The arm that begins moves on by one each round."""
    seconds: dict[str, dict[int, float]] = {arm.name: {} for arm in arms}
    losses: dict[str, float] = {}
    gc.collect()
    gc.freeze()  # what is there already need not be looked through before every step
    for number in range(rounds):
        first = number % len(arms)
        for arm in (*arms[first:], *arms[:first]):
            if number % arm.every == 0:
                seconds[arm.name][number], losses[arm.name] = timed(arm.step)
        said = ", ".join(f"{name} {held[number]:.2f} s" for name, held in seconds.items() if number in held)
        sys.stderr.write(f"  round {number + 1}/{rounds}: {said}\n")
    gc.unfreeze()
    return seconds, losses


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(slow: Mapping[int, float], fast: Mapping[int, float]) -> dict[str, float] | None:
    """Median and range of per-round ratios, over the rounds in which both ran; None where there is none."""
    both = sorted(slow.keys() & fast.keys())
    return spread([slow[number] / fast[number] for number in both]) if both else None
