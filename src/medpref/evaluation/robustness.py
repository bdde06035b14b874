"""Robustness curves: forced-choice accuracy of closed questions as the image degrades, way by way, step by step.

Step 0 is the image as it is; the way ``all`` is the mean over the ways.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medpref import store
from medpref.evaluation.degrade import DEGRADATIONS, SEVERITIES, degrade
from medpref.evaluation.interval import interval
from medpref.evaluation.metrics import UNIT, mean_of
from medpref.evaluation.probe import Read, decide, probe_pair
from medpref.evaluation.views import Views
from medpref.evaluation.vqa import choices_of, row_of
from medpref.imaging.decode import encode_png, read_array
from medpref.progress import track
from medpref.schema import CHOSEN, CLEAN, Branch, Example, ImageRef, PreferencePair, VerdictRow
from medpref.seeds import generator

CHUNK = 16
JOURNAL, ROWS, CURVES = "robustness.journal.jsonl", "robustness.jsonl", "robustness.json"
ALL = "all"
Step = tuple[str, int]


def robustness(
    examples: Sequence[Example],
    out: Path,
    *,
    root: Path,
    read: Read,
    seed: int,
    names: Iterable[str] = tuple(DEGRADATIONS),
    severities: Sequence[int] = SEVERITIES,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Write robustness.jsonl (rows) and robustness.json (curves) into ``out``; returns the curves.

    At most ``limit`` questions are read (``asked_of``). Resumes from its journal, chunk by chunk; degraded images lie
    under ``out`` only while they are read.
    """
    asked = asked_of(examples, limit=limit, seed=seed)
    steps = [(name, severity) for name in names for severity in severities]
    rows: list[VerdictRow] = []
    with store.Journal(Path(out) / JOURNAL) as journal:
        for start in track(range(0, len(asked), CHUNK), "robustness"):
            chunk = asked[start : start + CHUNK]
            key = store.digest([[example.id for example in chunk], steps])
            if key not in journal.done:
                found = _rows(chunk, Path(out), root=root, read=read, seed=seed, steps=steps)
                journal.put(key, [row.model_dump(mode="json") for row in found])
            rows += [VerdictRow.model_validate(row) for row in journal.done[key]]
    store.write_lines(Path(out) / ROWS, rows)
    found_curves = curves(rows, seed=seed)
    store.write_json(Path(out) / CURVES, found_curves)
    (Path(out) / JOURNAL).unlink()
    shutil.rmtree(Path(out) / "blobs", ignore_errors=True)
    return found_curves


def asked_of(examples: Sequence[Example], *, limit: int | None, seed: int) -> list[Example]:
    """The closed questions whose choices are known, at most ``limit``: whole patients in a seeded order."""
    held = [example for example in examples if example.answer_type == "closed" and choices_of(example)]
    if limit is None or len(held) <= limit:
        return held
    patients = sorted({example.patient for example in held})
    generator(seed, "robustness", "patients").shuffle(patients)
    kept: set[str] = set()
    count = 0
    for patient in patients:
        size = sum(example.patient == patient for example in held)
        if kept and count + size > limit:
            break
        kept.add(patient)
        count += size
    return [example for example in held if example.patient in kept]


def curves(rows: Sequence[VerdictRow], *, seed: int) -> list[dict[str, Any]]:
    """(degradation, severity) -> accuracy with its interval, and the paired loss against severity 0 with its own."""
    groups: dict[Step, list[VerdictRow]] = {}
    for row in rows:
        name, severity = row.evidence["degradation"], int(row.evidence["severity"])
        clean = row.model_copy(update={"value": float(row.evidence["clean"])})
        for way in (name, ALL):
            groups.setdefault((way, severity), []).append(row)
        groups.setdefault((name, 0), []).append(clean)
        groups.setdefault((ALL, 0), []).append(clean)
    found = []
    for (name, severity), every in sorted(groups.items()):
        held = every if severity else list({row.example: row for row in every}.values())
        clusters = [row.patient for row in held]
        for metric, part in (("accuracy", held), ("loss", [_loss(row) for row in held] if severity else [])):
            rng = generator(seed, "robustness", metric, name, str(severity))
            bounds = UNIT if metric == "accuracy" else (-1.0, 1.0)
            estimate = interval(mean_of(metric).features(part), clusters, rng=rng, bounds=bounds) if part else None
            if estimate is not None:
                found.append({"degradation": name, "severity": severity, "metric": metric, **estimate._asdict()})
    return found


def _loss(row: VerdictRow) -> VerdictRow:
    lost = float(row.evidence["clean"]) - (row.value or 0.0)
    return row.model_copy(update={"value": lost})


def _rows(
    chunk: Sequence[Example], out: Path, *, root: Path, read: Read, seed: int, steps: Sequence[Step]
) -> list[VerdictRow]:
    pairs = [probe_pair(example, _views(example, out, root=root, seed=seed, steps=steps)) for example in chunk]
    found = []
    for example, pair, log_probs in zip(chunk, pairs, read(pairs), strict=True):
        clean = _right(pair, CLEAN, log_probs)
        for name, severity in steps:
            right = _right(pair, f"{name}-{severity}", log_probs)
            evidence = {"degradation": name, "severity": str(severity), "clean": str(clean)}
            found.append(row_of(example, f"robust_accuracy/{name}/{severity}", right, evidence=evidence))
    for pair in pairs:
        for view, images in pair.views.items():
            if view != CLEAN:
                for image in images:
                    Path(image.path).unlink(missing_ok=True)
    return found


def _right(pair: PreferencePair, view: str, log_probs: dict[Branch, float]) -> float:
    return float(decide(pair, view, log_probs)[0] == pair.replies[CHOSEN].text)


def _views(example: Example, out: Path, *, root: Path, seed: int, steps: Sequence[Step]) -> Views:
    pixels = [(image.sha256, read_array(image.locate(root))) for image in example.images]
    views: Views = {CLEAN: example.images}
    for name, severity in steps:
        made = []
        for sha, array in pixels:
            rng = generator(seed, "degrade", name, sha)
            path = store.put_blob(out, encode_png(degrade(array, name, severity, rng=rng)), ".png")
            made.append(ImageRef(path=str((out / path).resolve()), sha256=Path(path).stem))
        views[f"{name}-{severity}"] = tuple(made)
    return views
