"""Intervals and paired tests for any metric that is a function of sums over items, clustered by patient.

Every metric here is ``combine(sum of features over items)``: a mean has the features (value, 1) and the combination
s0 / s1; balanced accuracy, MCC, F1 and corpus BLEU only have more features. Questions about one patient are not
independent, so patients are what is resampled (the cluster bootstrap; Davison & Hinkley 1997, section 3.8) and what
changes sides in the permutation test. Numpy only; all draws of a call are one matrix product.

Knows: numbers and clusters. Does not know: what a metric means. Percentile intervals are too narrow with few
patients; the tails taken are therefore expanded to what Student's t would ask for (Hesterberg 2015, section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from medpref.schema import Estimate

Array = NDArray[np.float64]
Combine = Callable[[Array], Array]
Bounds = tuple[float | None, float | None]
LEVEL = 0.95
DRAWS = 2000
SWAPS = 4000
EXACT_UP_TO = 12


class Difference(NamedTuple):
    """First minus second, paired: its 95 % interval, a two-sided permutation p-value, items and clusters."""

    difference: float
    low: float
    high: float
    p: float
    items: int
    clusters: int


def ratio(sums: Array) -> Array:
    """The mean: first feature over second, [..., 2] -> [...]; NaN where nothing was counted."""
    return divide(sums[..., 0], sums[..., 1])


def divide(above: Array, below: Array) -> Array:
    """Elementwise quotient; NaN where the divisor is 0."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below != 0)


def cluster_sums(features: ArrayLike, clusters: Sequence[Hashable]) -> Array:
    """Features [item, feature] summed within clusters -> [cluster, feature], clusters in order of first appearance."""
    table = np.asarray(features, dtype=np.float64)
    index: dict[Hashable, int] = {}
    rows = np.array([index.setdefault(cluster, len(index)) for cluster in clusters], dtype=np.intp)
    sums = np.zeros((len(index), table.shape[1]))
    np.add.at(sums, rows, table)
    return sums


def resample(clusters: int, rng: np.random.Generator, *, draws: int = DRAWS) -> Array:
    """How often each cluster is drawn: [draw, cluster], each row sums to ``clusters``."""
    picks = rng.integers(clusters, size=(draws, clusters)) + np.arange(draws)[:, None] * clusters
    return np.bincount(picks.ravel(), minlength=draws * clusters).reshape(draws, clusters).astype(np.float64)


def interval(
    features: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    rng: np.random.Generator,
    combine: Combine = ratio,
    bounds: Bounds = (None, None),
) -> Estimate | None:
    """The estimate of ``combine`` over items [item, feature] with its 95 % cluster-bootstrap interval.

    None where the metric is undefined (nothing to count), or unbounded with fewer than two clusters. Where no draw
    differs and the value is at a bound (all right, all wrong) the bootstrap would claim certainty; the one-sided
    exact binomial bound over clusters, 0.025 ** (1 / clusters), stands in for it.
    """
    if not len(clusters):
        return None
    sums = cluster_sums(features, clusters)
    value = float(combine(sums.sum(axis=0)))
    if np.isnan(value):
        return None
    if len(sums) < 2:
        low, high = bounds
        if low is None or high is None:
            return None
        return Estimate(value, low, high, len(clusters), 1)
    low, high = percentiles(combine(resample(len(sums), rng) @ sums), len(sums))
    low, high = _at_bound(value, low, high, bounds=bounds, clusters=len(sums))
    return Estimate(value, min(low, value), max(high, value), len(clusters), len(sums))


def percentiles(draws: Array, clusters: int) -> tuple[float, float]:
    """The central 95 % of bootstrap draws (undefined ones left out), expanded for few clusters.

    Each tail is Phi(-sqrt(n / (n - 1)) * t) instead of Phi(-1.96), with t of n - 1 degrees: 1.4 % at 17 clusters.
    """
    wide = np.sqrt(clusters / (clusters - 1)) * stats.t.ppf((1 + LEVEL) / 2, clusters - 1)
    tail = 100 * stats.norm.cdf(-wide)
    low, high = np.nanpercentile(draws, [tail, 100 - tail])
    return float(low), float(high)


def _at_bound(value: float, low: float, high: float, *, bounds: Bounds, clusters: int) -> tuple[float, float]:
    floor, ceiling = bounds
    if low != high or floor is None or ceiling is None:
        return low, high
    reach = (1 - ((1 - LEVEL) / 2) ** (1 / clusters)) * (ceiling - floor)
    if value == ceiling:
        return ceiling - reach, ceiling
    if value == floor:
        return floor, floor + reach
    return low, high


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    rng: np.random.Generator,
    combine: Combine = ratio,
) -> Difference | None:
    """``combine(first) - combine(second)`` on the same items (row i of both is item i), or None where undefined.

    The interval resamples clusters, taking both models' answers along; p is ``swap_p``. Fewer than two clusters
    cannot speak about other patients: None.
    """
    if len(set(clusters)) < 2:
        return None
    a, b = cluster_sums(first, clusters), cluster_sums(second, clusters)
    value = float(combine(a.sum(axis=0)) - combine(b.sum(axis=0)))
    if np.isnan(value):
        return None
    weights = resample(len(a), rng)
    low, high = percentiles(combine(weights @ a) - combine(weights @ b), len(a))
    p = swap_p(a, b, rng=rng, combine=combine)
    return Difference(value, min(low, value), max(high, value), p, len(clusters), len(a))


def swap_p(first: Array, second: Array, *, rng: np.random.Generator, combine: Combine = ratio) -> float:
    """Two-sided p that the two models are exchangeable: within a cluster all their answers change sides together.

    For a mean this is the sign-flip test on the clusters' summed differences. Up to 12 clusters every swap is tried
    (exact); beyond, 4000 random ones, and (1 + hits) / (1 + swaps) (Phipson & Smyth 2010), so p is never 0.
    """
    count = len(first)
    if count <= EXACT_UP_TO:
        swap = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float64)
    else:
        swap = rng.integers(2, size=(SWAPS, count)).astype(np.float64)
    moved = swap @ (first - second)
    spread = np.abs(combine(second.sum(axis=0) + moved) - combine(first.sum(axis=0) - moved))
    observed = abs(float(combine(second.sum(axis=0)) - combine(first.sum(axis=0))))
    hits = int(np.count_nonzero(spread >= observed - 1e-12))
    return hits / len(swap) if count <= EXACT_UP_TO else (1 + hits) / (1 + len(swap))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979): controls the family-wise error."""
    order = np.argsort(p_values, kind="stable")
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
