"""Wrong is what the leading verdict says; not judged is not wrong."""

from __future__ import annotations

from typing import Any

import pytest

from medpref.report.thumbnail import Thumbnails, open_picture
from medpref.report.values import Evaluated, LookMap, Run
from medpref.report.wrong import cases, failures, judged, wrong_answers
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


def shown(run: Run, *, budget: int = 10**7) -> dict[str, Any]:
    thumbnails = Thumbnails(run.root, budget=budget, side=64, open_image=open_picture)
    held = wrong_answers(run, [judged(model) for model in run.models], thumbnails=thumbnails, budget=10**7)
    return {**held, "pictures": thumbnails.pictures}


def test_maps_are_of_the_models_that_were_wrong_and_mapped_answers_come_first(run: Run) -> None:
    held = shown(run)
    maps = {entry["id"]: entry.get("maps", []) for entry in held["entries"]}
    mapped = [bool(found) for found in maps.values()]
    assert held["mapped"] == sum(mapped) > 0
    assert mapped == sorted(mapped, reverse=True)
    for place, model in enumerate(run.models):
        wrong = {row.example for row in model.verdicts if row.metric == "closed_accuracy" and row.value == 0}
        assert {name for name, found in maps.items() if place in [one[0] for one in found]} == wrong
    for found in maps.values():
        for _, kind, key in found:
            assert kind in ("attention", "saliency")
            assert (held["pictures"][key]["w"], held["pictures"][key]["h"]) == (6, 6)


def test_at_most_24_answers_carry_maps_those_of_most_models(run: Run) -> None:
    maps = [
        tuple(LookMap(example=f"e{n}", kind="attention", rows=1, columns=1, values=(9,)) for n in range(start, 40))
        for start in (0, 30)
    ]
    two = run.model_copy(
        update={
            "models": tuple(held.model_copy(update={"maps": own}) for held, own in zip(run.models, maps, strict=False))
        }
    )
    chosen = cases(two, {f"e{n}" for n in range(40)})
    assert len(chosen) == 24
    assert {f"e{n}" for n in range(30, 40)} < chosen
    assert cases(two, {"e3", "e31"}) == {"e3", "e31"}, "a right answer is no case"


def test_a_page_without_room_leaves_maps_out(run: Run) -> None:
    held = shown(run, budget=0)
    assert held["mapped"] == 0
    assert held["pictures"] == {}


def test_attention_is_no_verdict() -> None:
    assert _judged(("attention_js", 0.2), ("attention_ratio", 0.3)) == (None, False, "")
