"""One number from several training seeds: mean, standard deviation, and an interval over seeds and patients at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from medpref.evaluation.interval import DRAWS, LEVEL, Combine, cluster_sums, percentiles, ratio, resample


class SeedEstimate(NamedTuple):
    """Mean over seeds, standard deviation between seeds, hierarchical 95 % interval, seeds and clusters."""

    value: float
    deviation: float
    low: float
    high: float
    seeds: int
    clusters: int


def over_seeds(
    features: Mapping[int, ArrayLike],
    clusters: Mapping[int, Sequence[Hashable]],
    *,
    rng: np.random.Generator,
    combine: Combine = ratio,
) -> SeedEstimate:
    """The estimate over runs with different training seeds, each evaluated on the same patients.

    Seeds and patients are crossed, not nested: each draw resamples patients once for all seeds, and seeds. Deviations
    between k seeds are widened by sqrt(k / (k - 1)) * t / 1.96 (t of k - 1 degrees), because few resampled seeds vary
    too little. With one seed the interval is over patients alone and says nothing about training.
    """
    names = sorted({name for held in clusters.values() for name in held}, key=str)
    place = {name: index for index, name in enumerate(names)}
    tables = []
    for seed in sorted(features):
        sums = cluster_sums(features[seed], clusters[seed])
        order = list(dict.fromkeys(clusters[seed]))
        table = np.zeros((len(names), sums.shape[1]))
        table[[place[name] for name in order]] = sums
        tables.append(table)
    values = np.array([float(combine(table.sum(axis=0))) for table in tables])
    weights = resample(len(names), rng)
    drawn = np.stack([combine(weights @ table) for table in tables], axis=1)
    count = len(tables)
    centre = drawn.mean(axis=1)
    if count > 1:
        chosen = np.take_along_axis(drawn, rng.integers(count, size=(DRAWS, count)), axis=1).mean(axis=1)
        centre = centre + _widening(count) * (chosen - centre)
    low, high = percentiles(centre, len(names))
    value = float(values.mean())
    deviation = float(values.std(ddof=1)) if count > 1 else 0.0
    return SeedEstimate(value, deviation, min(low, value), max(high, value), count, len(names))


def _widening(seeds: int) -> float:
    factor = np.sqrt(seeds / (seeds - 1)) * stats.t.ppf((1 + LEVEL) / 2, seeds - 1)
    return float(factor / stats.norm.ppf((1 + LEVEL) / 2))
