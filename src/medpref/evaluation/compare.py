"""Two models on the same questions: paired differences by metric, overall and by tag slice, with Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medpref.evaluation.estimate import ALL, items_of, parts
from medpref.evaluation.interval import Difference, holm, paired_difference
from medpref.evaluation.metrics import Metric, metrics_of
from medpref.schema import VerdictRow
from medpref.seeds import generator

SAME_FOR_EVERY_MODEL = frozenset({"constant_accuracy"})


def compare(
    verdicts_a: Sequence[VerdictRow],
    verdicts_b: Sequence[VerdictRow],
    *,
    seed: int,
    slices: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Model a minus model b on the items that both have judged: difference, 95 % interval, paired p, Holm's p.

    Rows of one metric on one example are one item; an item that either model lacks, or that either has not judged,
    is left out of both. A slice's metric is named ``metric@key=value``; ``slices`` None means every tag slice that
    ``estimates`` has. Holm's family is the metrics of one slice of this one couple of models.
    """
    found = []
    first, second = _by_slice(verdicts_a), _by_slice(verdicts_b)
    for name in (ALL, *(slices if slices is not None else [key for key in first if key != ALL])):
        family = []
        for metric in metrics_of(first.get(name, [])):
            difference = _difference(metric, first[name], second.get(name, []), seed=seed, name=name)
            if difference is not None:
                suffix = "" if name == ALL else f"@{name}"
                family.append({"metric": metric.name + suffix, **difference._asdict()})
        found += with_holm(family)
    return found


def with_holm(comparisons: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The comparisons, each with ``p_holm``: its p-value adjusted for the family that is given here."""
    adjusted = holm([row["p"] for row in comparisons])
    return [{**row, "p_holm": p} for row, p in zip(comparisons, adjusted, strict=True)]


def _difference(
    metric: Metric, rows_a: Sequence[VerdictRow], rows_b: Sequence[VerdictRow], *, seed: int, name: str
) -> Difference | None:
    a, b = items_of(metric, rows_a), items_of(metric, rows_b)
    shared = [item for item in a if item in b]
    if not shared or metric.name in SAME_FOR_EVERY_MODEL:
        return None
    features = metric.features([a[item] for item in shared] + [b[item] for item in shared])
    return paired_difference(
        features[: len(shared)],
        features[len(shared) :],
        [a[item].patient for item in shared],
        rng=generator(seed, "compare", metric.name, name),
        combine=metric.combine,
    )


def _by_slice(rows: Sequence[VerdictRow]) -> dict[str, list[VerdictRow]]:
    return {name: part for kind, name, part in parts(rows) if kind == ALL}
