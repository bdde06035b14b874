"""One number from several training seeds: mean, standard deviation, and an interval over seeds and patients at once.

What is estimated is the mean of the metric over training seeds and patients that could have been drawn. With seeds and
patients crossed (every seed answers about the same patients) a seed's value is

    value of seed s = mu + a_s (training) + b (these patients, the same for all seeds) + e_s (this seed on them),

and the variance of the mean over k seeds is Var(a) / k + Var(b) + Var(e) / k. The variance *between* the seeds' values,
S^2, estimates Var(a) + Var(e) already, so that only what seeds share may be added to S^2 / k: Var(b), which is the
covariance of two seeds' values when patients are resampled. Adding the whole variance over patients of the mean
(Var(b) + Var(e) / k) would count e twice, and resampling seeds and patients at once counts it three times (Owen 2007,
"The pigeonhole bootstrap", section 3). This is Obuchowski and Rockette's (1995) variance for several readers of the
same cases, with Satterthwaite's degrees of freedom (as Hillis 2007 does for them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from medpref.errors import DataError
from medpref.evaluation.interval import LEVEL, Array, Combine, cluster_sums, percentiles, ratio, resample


class SeedEstimate(NamedTuple):
    """Mean over seeds, standard deviation between them, 95 % interval over seeds and patients, seeds and clusters.

    ``error`` is the standard error and ``freedom`` its degrees of freedom: ``value / error`` is Student's t.
    """

    value: float
    deviation: float
    low: float
    high: float
    seeds: int
    clusters: int
    error: float
    freedom: float


def over_seeds(
    features: Mapping[int, ArrayLike],
    clusters: Mapping[int, Sequence[Hashable]],
    *,
    rng: np.random.Generator,
    combine: Combine = ratio,
) -> SeedEstimate:
    """The mean of a metric over training seeds and patients, with an interval that holds for both.

    error^2 = S^2 / k + max(0, C), S the standard deviation between the k seeds' values and C the mean covariance of
    two seeds' values over resampled patients (0 where no two seeds share a patient: then this is Student's t over
    seeds). The interval is value -+ t * error, t of (sum v)^2 / sum(v^2 / df) degrees (Satterthwaite 1946), where S^2
    has k - 1 and C has patients - 1. With one seed the interval is the bootstrap over patients alone and says nothing
    about training. Coverage in simulations with and without noise of training: 93 to 97 % with five seeds, 91 to 95 %
    with three, 87 to 99 % with two. DataError with fewer than two patients.
    """
    tables, patients, shared = _aligned(features, clusters)
    if patients < 2:
        raise DataError("over_seeds", given="one patient", expected="at least two", todo="evaluate more patients")
    values = np.array([float(combine(table.sum(axis=0))) for table in tables])
    value, count = float(values.mean()), len(tables)
    drawn = np.stack([combine(resampled @ table) for resampled in [resample(patients, rng)] for table in tables])
    if count == 1:
        low, high = percentiles(drawn[0], patients)
        error = float(np.nanstd(drawn[0])) * float(np.sqrt(patients / (patients - 1)))
        return SeedEstimate(value, 0.0, min(low, value), max(high, value), 1, patients, error, patients - 1)
    deviation = float(values.std(ddof=1))
    together = max(0.0, _covariance(drawn, patients)) if shared else 0.0
    parts = ((deviation**2 / count, count - 1), (together, patients - 1))
    error, freedom = float(np.sqrt(sum(variance for variance, _ in parts))), _satterthwaite(parts)
    reach = error * float(stats.t.ppf((1 + LEVEL) / 2, freedom))
    return SeedEstimate(value, deviation, value - reach, value + reach, count, patients, error, freedom)


def _aligned(
    features: Mapping[int, ArrayLike], clusters: Mapping[int, Sequence[Hashable]]
) -> tuple[list[Array], int, bool]:
    """Each seed's sums by patient, all patients in one order; how many patients; whether two seeds share one."""
    held = Counter(name for seed in features for name in set(clusters[seed]))
    place = {name: index for index, name in enumerate(sorted(held, key=str))}
    tables = []
    for seed in sorted(features):
        sums = cluster_sums(features[seed], clusters[seed])
        table = np.zeros((len(place), sums.shape[1]))
        table[[place[name] for name in dict.fromkeys(clusters[seed])]] = sums
        tables.append(table)
    return tables, len(place), max(held.values(), default=0) > 1


def _covariance(drawn: Array, patients: int) -> float:
    """The mean covariance of two seeds' values [seed, draw], for other patients; draws undefined at a seed left out.

    The bootstrap's variance is (n - 1) / n of what n patients ask for, which is put right.
    """
    count = len(drawn)
    kept = drawn[:, ~np.isnan(drawn).any(axis=0)]
    table = np.cov(kept, ddof=0) * patients / (patients - 1)
    return float(table.sum() - np.trace(table)) / (count * (count - 1))


def _satterthwaite(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances, each with its own; those of the last part where all are 0."""
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return sum(variance for variance, _ in parts) ** 2 / below if below > 0 else parts[-1][1]
