"""Wrong is what the leading verdict says; not judged is not wrong."""

from __future__ import annotations

import pytest

from medpref.report.thumbnail import Thumbnails, open_picture
from medpref.report.values import Evaluated, Run
from medpref.report.wrong import failures, judged, wrong_answers
from medpref.schema import OwnReply, VerdictRow


def _judged(*rows: tuple[str, float | None]) -> tuple[float | None, bool, str]:
    verdicts = tuple(VerdictRow(example="e", patient="p", metric=metric, value=value) for metric, value in rows)
    held = judged(Evaluated(name="m", replies=(OwnReply(example="e", text="No."),), verdicts=verdicts))["e"]
    return held.value, held.wrong, held.metric


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("closed_accuracy", 0.0), ("legacy_closed_substring", 1.0)], (0.0, True, "closed_accuracy")),
        ([("legacy_open_recall", 0.0), ("open_f1", 0.7), ("open_exact", 0.0)], (0.0, True, "open_exact")),
        ([("open_exact", None), ("open_f1", 0.7)], (0.7, False, "open_f1")),
        ([("report_findings", None), ("bleu_4", 0.1)], (None, False, "report_findings")),
        ([("report_findings", 0.4)], (0.4, True, "report_findings")),
        ([("my_judge", 0.5)], (0.5, False, "my_judge")),
        ([("grounding_drop", -1.0), ("flip_rate_lesion", 0.0)], (None, False, "")),
        ([], (None, False, "")),
    ],
)
def test_the_leading_verdict(rows: list[tuple[str, float | None]], expected: tuple[float | None, bool, str]) -> None:
    assert _judged(*rows) == expected


def test_failures_agree_with_the_estimates(run: Run) -> None:
    """Wrong of judged, against one minus the accuracy that the estimates give."""
    rows = failures(run, [judged(model) for model in run.models])
    for row in rows:
        for model, (wrong, count) in zip(run.models, row.cells, strict=True):
            (held,) = (m for m in model.measures if (m.metric, m.kind) == ("overall_accuracy", row.kind))
            assert count == held.items
            assert wrong / count == pytest.approx(1 - held.value)


def test_entries_are_the_examples_that_some_model_got_wrong(run: Run) -> None:
    by_model = [judged(model) for model in run.models]
    held = wrong_answers(
        run, by_model, thumbnails=Thumbnails(run.root, budget=10**7, side=64, open_image=open_picture), budget=10**7
    )
    wrong = {
        row.example
        for model in run.models
        for row in model.verdicts
        if row.metric in ("closed_accuracy", "open_exact") and row.value == 0
    }
    assert {entry["id"] for entry in held["entries"]} == wrong
    assert held["total"] == len(wrong)
    assert [name for name, _ in held["models"]] == [model.name for model in run.models]
    for entry in held["entries"]:
        assert any(reply[1] == "wrong" for reply in entry["replies"])
        assert entry["answer"] == run.dataset.examples[entry["id"]].answer
        assert len(entry["views"]["clean"]) == 1
