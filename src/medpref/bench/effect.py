"""A metric, or the paired difference of two models, over training seeds and patients.

Where all seeds answer about the same patients (a real test set) seeds and patients are crossed, and the interval is
``evaluation.hierarchy.over_seeds``. Where every seed draws patients of its own (phantoms) the seeds are independent
replicates whose spread holds the patients' noise already: Student's t over seeds. Either is never narrower than the
interval over patients alone.

p is the larger of two: of the test that within each patient both models' answers are exchangeable (which speaks of
these trained models), and of the interval turned into a p-value (Altman & Bland 2011), which speaks of training too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import stats

from medpref.errors import ArtifactError
from medpref.evaluation.hierarchy import over_seeds
from medpref.evaluation.interval import LEVEL, Array, Bounds, Combine, cluster_sums, interval, swap_p
from medpref.schema import Estimate
from medpref.seeds import generator

TAIL = (1 + LEVEL) / 2


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
    deviation = float(np.std(list(values.values()), ddof=1)) if len(seeds) > 1 else None
    low, high, freedom = patients.low, patients.high, max(1.0, patients.clusters - 1.0)
    if deviation is not None and patients.clusters > 1:
        low, high, freedom = _over_seeds(held, combine, patients, deviation, name=name)
        low, high = _within(min(low, patients.low), max(high, patients.high), bounds)
    p = _interval_p(patients.value, low, high, freedom=freedom)
    return Effect(patients.value, deviation, low, high, p, len(seeds), patients.items, patients.clusters, values)


def _over_seeds(
    held: Mapping[int, Held], combine: Combine, patients: Estimate, deviation: float, *, name: str
) -> tuple[float, float, float]:
    """``(low, high, degrees of freedom)``: crossed with the patients, or over independent replicates."""
    count = len(held)
    if patients.clusters == sum(len(set(one.patients)) for one in held.values()):
        reach = deviation / np.sqrt(count) * float(stats.t.ppf(TAIL, count - 1))
        return patients.value - reach, patients.value + reach, count - 1
    crossed = over_seeds(
        {seed: one.features for seed, one in held.items()},
        {seed: one.patients for seed, one in held.items()},
        rng=generator(0, "bench", "seeds", name),
        combine=combine,
    )
    of_patients = ((patients.high - patients.low) / (2 * stats.norm.ppf(TAIL))) ** 2
    of_seeds = deviation**2 / count
    return crossed.low, crossed.high, _satterthwaite((of_patients, patients.clusters - 1), (of_seeds, count - 1))


def _satterthwaite(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of variances: (sum v)^2 / sum(v^2 / df) (Satterthwaite 1946)."""
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return sum(variance for variance, _ in parts) ** 2 / below if below > 0 else min(freedom for _, freedom in parts)


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
