"""Estimates with intervals, recomputed from verdict rows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from medpref.evaluation.interval import interval
from medpref.evaluation.metrics import Metric, metrics_of
from medpref.schema import VerdictRow
from medpref.seeds import generator

ALL = "all"
MOST_VALUES = 12
Item = tuple[str, str]


def estimates(rows: Sequence[VerdictRow], *, seed: int) -> list[dict[str, Any]]:
    """Each metric with its 95 % interval: over everything, by question kind, and by tag slice (``key=value``).

    A metric that is undefined on a part (nothing to count) has no entry there.
    """
    found = []
    for kind, name, part in parts(rows):
        for metric in metrics_of(part):
            kept = items_of(metric, part)
            held = list(kept.values())
            estimate = interval(
                metric.features(held),
                [row.patient for row in held],
                rng=generator(seed, "interval", metric.name, kind, name),
                combine=metric.combine,
                bounds=metric.bounds,
            )
            if estimate is not None:
                found.append({"metric": metric.name, "kind": kind, "slice": name, **estimate._asdict()})
    return found


def items_of(metric: Metric, rows: Sequence[VerdictRow]) -> dict[Item, VerdictRow]:
    """The rows a metric counts, by (example, row metric), in the order given."""
    return {(row.example, row.metric): row for row in rows if row.metric in metric.reads and metric.keep(row)}


def parts(rows: Sequence[VerdictRow]) -> Iterator[tuple[str, str, list[VerdictRow]]]:
    """(kind, slice, rows): everything, then each kind, then each value of each tag that has at most 12 values."""
    yield ALL, ALL, list(rows)
    kinds: dict[str, list[VerdictRow]] = defaultdict(list)
    tags: dict[str, dict[str, list[VerdictRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        kinds[row.kind].append(row)
        for key, value in row.tags.items():
            tags[key][value].append(row)
    for kind in sorted(kinds):
        if kind:
            yield kind, ALL, kinds[kind]
    for key in sorted(tags):
        if len(tags[key]) <= MOST_VALUES:
            for value in sorted(tags[key]):
                yield ALL, f"{key}={value}", tags[key][value]
