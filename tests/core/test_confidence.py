"""Risk-coverage curves of a run folder's evaluations."""

from __future__ import annotations

import math
from pathlib import Path

from medpref import store
from medpref.confidence import risk_of
from medpref.schema import OwnReply, VerdictRow


def evaluated(folder: Path, *, sure: bool) -> None:
    rows = [
        VerdictRow(example=f"e{n}", patient=f"p{n}", metric="open_exact", value=float(n % 2), kind="side")
        for n in range(4)
    ]
    log_probs = (math.log(0.5),) if sure else ()
    store.write_lines(folder / "verdicts.jsonl", rows)
    store.write_lines(
        folder / "replies.jsonl", [OwnReply(example=row.example, text="x", log_probs=log_probs) for row in rows]
    )


def test_models_with_confidences_have_curves_and_others_none(tmp_path: Path) -> None:
    evaluated(tmp_path / "sft", sure=True)
    evaluated(tmp_path / "base", sure=False)
    evaluated(tmp_path / "dpo.partial", sure=True)
    store.write_json(tmp_path / "comparisons" / "comparisons.json", [])
    found = risk_of(tmp_path)
    assert list(found) == ["sft"]
    (curve,) = found["sft"]
    assert (curve["confidence"], curve["items"], curve["area"]["value"]) == ("reply", 4, 0.5)
    assert risk_of(tmp_path / "nowhere") == {}
