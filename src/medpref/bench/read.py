"""Finished cells in, features out: each arm's metrics at each seed, and what its summary says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref import stages, store
from medpref.bench.effect import Held
from medpref.evaluation.estimate import items_of
from medpref.evaluation.metrics import BY_NAME, Metric, mean_of
from medpref.schema import VerdictRow

SUMMARY = "summary.json"


def metric_of(name: str) -> Metric:
    """The metric behind ``metric`` or ``metric@key=value``; one that is not known is the mean of its values."""
    plain = name.partition("@")[0]
    return BY_NAME.get(plain) or mean_of(plain)


def summary_of(folder: Path) -> Mapping[str, Any] | None:
    """The summary of a cell, or None where it did not get so far."""
    path = folder / SUMMARY
    held: Mapping[str, Any] | None = store.read_json(path) if path.exists() else None
    return held


def read_arm(folder: Path, arm: str, metrics: Sequence[str], *, marks: Mapping[str, str]) -> dict[str, Held]:
    """The wanted metrics of one arm of a cell from its verdicts; one without any item is absent.

    ``marks`` are the cell's ``patient_marks``.
    """
    reads = frozenset().union(*(metric_of(name).reads for name in metrics))
    path = store.require(folder / stages.EVAL / arm, "verdicts.jsonl")
    rows = [
        store.parse_row(VerdictRow, row, where=f"{path}:{number}")
        for number, row in store.iter_lines(path)
        if row.get("metric") in reads
    ]
    found = {}
    for name in metrics:
        metric = metric_of(name)
        kept = sorted(items_of(metric, _of_slice(rows, name)).items())
        if kept:
            patients = tuple(marks.get(row.patient, row.patient) for _, row in kept)
            found[name] = Held(tuple(item for item, _ in kept), patients, metric.features([row for _, row in kept]))
    return found


def _of_slice(rows: Iterable[VerdictRow], name: str) -> list[VerdictRow]:
    key, equals, value = name.partition("@")[2].partition("=")
    return [row for row in rows if not equals or row.tags.get(key) == value]


def patient_marks(folder: Path) -> dict[str, str]:
    """Each patient's name with a mark of their images: two cells' patients are the same only where both are the same.

    A synthetic source gives the same names to other patients at another seed.
    """
    images: dict[str, set[str]] = {}
    for _, row in store.iter_lines(folder / stages.EXAMPLES / "examples.jsonl"):
        images.setdefault(row["patient"], set()).update(image["sha256"] for image in row["images"])
    return {patient: f"{patient} {store.digest(sorted(held))[:12]}" for patient, held in images.items()}


def fingerprint(folder: Path) -> dict[str, str]:
    """The hashes of a cell's evaluations by arm: what a leaderboard is computed from."""
    parent = folder / stages.EVAL
    names = sorted(path.name for path in parent.iterdir()) if parent.is_dir() else []
    manifests = {name: store.read_manifest(parent / name) for name in names if not name.endswith(".partial")}
    return {name: manifest["hash"] for name, manifest in manifests.items() if manifest}
