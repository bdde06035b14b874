"""The risk-coverage curves of a run folder's models, from what their evaluations stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medpref import store
from medpref.schema import OwnReply, VerdictRow

FILE = "risk_coverage.json"


def risk_of(evaluations: Path) -> dict[str, list[dict[str, Any]]]:
    """By model, the curves of ``evaluations`` (the folder ``eval/``); a model without confidences has none."""
    from medpref.evaluation.selective import risk_curves

    found = {}
    for path in sorted(evaluations.glob("*/verdicts.jsonl")):
        folder = path.parent
        if folder.name.endswith(".partial") or not (folder / "replies.jsonl").exists():
            continue
        rows = store.read_lines(path, VerdictRow)
        curves = risk_curves(rows, store.read_lines(folder / "replies.jsonl", OwnReply), seed=0)
        if curves:
            found[folder.name] = curves
    return found
