"""A metric, or the paired difference of two models, over training seeds and patients.

The interval is ``evaluation.hierarchy.over_seeds``: where all seeds answer about the same patients (a real test set)
seeds and patients are crossed; where every seed draws patients of its own (phantoms) the seeds are independent
replicates whose spread holds the patients' noise already, and it is Student's t over seeds. One seed, or seeds
without any spread (all at 100 %), leave the interval over patients alone, which says nothing about training.

p is the larger of two: of the test that within each patient both models' answers are exchangeable (which speaks of
these trained models), and of the interval turned into a p-value, which speaks of training too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import stats

from medpref.errors import ArtifactError
from medpref.evaluation.hierarchy import SeedEstimate, over_seeds
from medpref.evaluation.interval import LEVEL, Array, Bounds, Combine, cluster_sums, interval, swap_p
from medpref.schema import Estimate
from medpref.seeds import generator

TAIL = (1 + LEVEL) / 2
NOTHING = 1e-12
REVISION = 2
"""Raised where the same cells give other intervals or p, so that leaderboards are computed again."""


class Held(NamedTuple):
    """One metric of one model at one seed: items in order, the patient and the features [item, feature] of each."""

    items: tuple[tuple[str, str], ...]
    patients: tuple[str, ...]
    features: Array


class Effect(NamedTuple):
    """A value over seeds; ``deviation`` between seeds is None with one seed, ``p`` is of a difference."""

    value: float
    deviation: float | None
    low: float
    high: float
    p: float
    seeds: int
    items: int
    clusters: int
    by_seed: dict[int, float]


def level(held: Mapping[int, Held], combine: Combine, *, bounds: Bounds, name: str) -> Effect | None:
    """The metric of one model over its seeds; None where no seed defines it."""
    kept = {seed: one for seed, one in held.items() if _defined(one.features, combine)}
    return _effect(kept, combine, bounds=bounds, name=name) if kept else None


def difference(a: Mapping[int, Held], b: Mapping[int, Held], combine: Combine, *, name: str) -> Effect | None:
    """Model a minus model b, seed by seed on the questions that both have; None where nothing pairs or interval is.

    ArtifactError where the features differ in width (means and ratios never do).
    """
    kept = {}
    for seed in (seed for seed in a if seed in b):
        both = _paired(a[seed], b[seed])
        first, second = np.split(both.features, 2, axis=-1)
        if _defined(first, combine) and _defined(second, combine):
            kept[seed] = both
    if not kept:
        return None

    def minus(sums: Array) -> Array:
        first, second = np.split(sums, 2, axis=-1)
        return combine(first) - combine(second)

    found = _effect(kept, minus, bounds=(None, None), name=name)
    return found and found._replace(p=max(found.p, _exchanged_p(kept, combine, name=name)))


def _defined(features: Array, combine: Combine) -> bool:
    return len(features) > 0 and not np.isnan(float(combine(features.sum(axis=0))))


def _paired(a: Held, b: Held) -> Held:
    """Both models' features side by side, on the items that both have, in the items' order."""
    if a.features.shape[1] != b.features.shape[1]:
        given = f"{a.features.shape[1]} and {b.features.shape[1]} features of one metric"
        raise ArtifactError("leaderboard", given=given, expected="the same", todo="choose a mean or a ratio")
    first, second = ({item: index for index, item in enumerate(held.items)} for held in (a, b))
    shared = sorted(item for item in first if item in second)
    rows_a, rows_b = [first[item] for item in shared], [second[item] for item in shared]
    features = np.hstack([a.features[rows_a], b.features[rows_b]])
    return Held(tuple(shared), tuple(a.patients[row] for row in rows_a), features)


def _effect(held: Mapping[int, Held], combine: Combine, *, bounds: Bounds, name: str) -> Effect | None:
    seeds = sorted(held)
    values = {seed: float(combine(held[seed].features.sum(axis=0))) for seed in seeds}
    patients = _over_patients(held, combine, bounds=bounds, name=name)
    if patients is None:
        return None
    behind = (len(seeds), patients.items, patients.clusters, values)
    over = _over_seeds(held, combine, name=name) if len(seeds) > 1 and patients.clusters > 1 else None
    deviation = float(np.std(list(values.values()), ddof=1)) if len(seeds) > 1 else None
    if over is None or over.error < NOTHING:
        low, high = patients.low, patients.high
        p = _interval_p(patients.value, low, high, freedom=max(1.0, patients.clusters - 1.0))
        return Effect(patients.value, deviation, low, high, p, *behind)
    low, high = _within(over.low, over.high, bounds)
    p = float(2 * stats.t.sf(abs(over.value) / over.error, over.freedom))
    return Effect(over.value, deviation, low, high, p, *behind)


def _over_seeds(held: Mapping[int, Held], combine: Combine, *, name: str) -> SeedEstimate:
    return over_seeds(
        {seed: one.features for seed, one in held.items()},
        {seed: one.patients for seed, one in held.items()},
        rng=generator(0, "bench", "seeds", name),
        combine=combine,
    )


def _interval_p(value: float, low: float, high: float, *, freedom: float) -> float:
    """Two-sided p against 0 of an interval; below 0.05 exactly where the interval excludes 0 (Altman & Bland 2011)."""
    if value == 0:
        return 1.0
    reach = value - low if value > 0 else high - value
    if reach <= 0:
        return 0.0
    return float(2 * stats.t.sf(stats.t.ppf(TAIL, freedom) * abs(value) / reach, freedom))


def _exchanged_p(held: Mapping[int, Held], combine: Combine, *, name: str) -> float:
    """The p-value of: within each patient (all seeds together) the two models are exchangeable."""
    halves = [
        {seed: one._replace(features=np.split(one.features, 2, axis=-1)[side]) for seed, one in held.items()}
        for side in (0, 1)
    ]
    (first, patients, both), (second, _, _) = (_stacked(half, combine) for half in halves)
    sums = (cluster_sums(features, patients) for features in (first, second))
    return swap_p(*sums, rng=generator(0, "bench", "swap", name), combine=both)


def _over_patients(held: Mapping[int, Held], combine: Combine, *, bounds: Bounds, name: str) -> Estimate | None:
    """The mean over the given seeds with its interval over patients alone."""
    features, patients, both = _stacked(held, combine)
    return interval(features, patients, rng=generator(0, "bench", "patients", name), combine=both, bounds=bounds)


def _stacked(held: Mapping[int, Held], combine: Combine) -> tuple[Array, list[str], Combine]:
    """All seeds' items with a block of columns a seed, their patients, and the mean over seeds of ``combine``."""
    parts = [held[seed] for seed in sorted(held)]
    ends = np.cumsum([0, *(part.features.shape[1] for part in parts)])
    table = np.zeros((sum(len(part.items) for part in parts), int(ends[-1])))
    row = 0
    for part, (start, end) in zip(parts, pairwise(ends), strict=True):
        table[row : row + len(part.items), start:end] = part.features
        row += len(part.items)

    def mean(sums: Array) -> Array:
        blocks = [combine(sums[..., start:end]) for start, end in pairwise(ends)]
        found: Array = np.mean(blocks, axis=0)
        return found

    return table, [patient for part in parts for patient in part.patients], mean


def _within(low: float, high: float, bounds: Bounds) -> tuple[float, float]:
    floor, ceiling = bounds
    return (low if floor is None else max(low, floor)), (high if ceiling is None else min(high, ceiling))
