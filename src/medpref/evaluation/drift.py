"""The alarm of a falling chosen log-probability: training that prefers right to wrong by making both less likely.

A margin can grow while the chosen reply becomes less probable than it was before training, because only the difference
is asked for (Pal et al. 2024, "Smaug", section 3; Rafailov et al. 2024, "From r to Q*"). What is then left unlikely is
the right answer, and the probability goes to replies that nobody has looked at.

Knows: the rows of ``steps.jsonl``. Does not know: objectives or models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medpref.evaluation.alarms import Alarm
from medpref.evaluation.interval import Array

NAME = "chosen_log_prob"
LOGGED, REWARD = "logps/chosen", "rewards/chosen"
SHARE, FEWEST = 5, 4
ERRORS = 2.0
STILL = 1e-6


def chosen_drift(steps: Sequence[Mapping[str, Any]]) -> list[Alarm]:
    """Whether log p of the chosen replies fell in training: nats a reply, last fifth of the steps minus first fifth.

    Steps see other pairs, whose replies differ in length, so that the difference is judged by its standard error: a
    fall of more than two warns. Where the reward of the chosen reply is logged and starts at 0 (then it is measured
    against the model that training starts from, on the same pairs) its mean over the last fifth decides instead. None
    with fewer than four logged steps.
    """
    logged = _series(steps, LOGGED)
    if len(logged) < FEWEST:
        return []
    count = max(2, len(logged) // SHARE)
    first, last = logged[:count], logged[-count:]
    drift = float(last.mean() - first.mean())
    error = math.hypot(*(part.std(ddof=1) / math.sqrt(count) for part in (first, last)))
    text = (
        f"log p of the chosen replies in training: {first.mean():.2f} nats a reply in the first {count} logged steps, "
        f"{last.mean():.2f} in the last ({drift:+.2f}, standard error {error:.2f})"
    )
    fell = drift < -ERRORS * error and drift < -STILL
    rewards = _series(steps, REWARD)
    if len(rewards) == len(logged) and abs(rewards[0]) < STILL:
        mean, spread = float(rewards[-count:].mean()), float(rewards[-count:].std(ddof=1)) / math.sqrt(count)
        fell = mean < -ERRORS * spread and mean < -STILL
        text += f"; reward against the start, on the same pairs: {mean:+.4f} (standard error {spread:.4f})"
    return [Alarm(NAME, drift, f"{text}.", "warn" if fell else "ok")]


def _series(steps: Sequence[Mapping[str, Any]], key: str) -> Array:
    """The finite values of a logged name, in order."""
    held = [float(row[key]) for row in steps if isinstance(row.get(key), (int, float))]
    return np.array([value for value in held if math.isfinite(value)], dtype=np.float64)
