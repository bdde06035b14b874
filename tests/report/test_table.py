"""Tables hold the estimates as they are, cell by cell."""

from __future__ import annotations

from medpref.report import table
from medpref.report.values import Evaluated, Measure, Run


def test_every_overall_estimate_is_in_the_results(run: Run) -> None:
    grid = table.results(run)
    shown = {
        (row.key, model.name): cell for row in grid.rows for model, cell in zip(run.models, row.cells, strict=True)
    }
    expected = {
        (held.metric, model.name): held
        for model in run.models
        for held in model.measures
        if (held.kind, held.slice) == ("all", "all")
    }
    assert shown == expected
    assert grid.models == ("Base", "SFT", "Control (mmedpo)", "mmedpo", "fire_mpo")


def test_question_types_and_slices_are_apart(run: Run) -> None:
    kinds = table.by_kind(run)
    assert kinds[0].title == "Accuracy"
    assert [row.key for row in kinds[0].rows] == sorted({e.kind for e in run.dataset.examples.values()})
    slices = table.by_slice(run)
    assert {row.key.partition("=")[0] for grid in slices for row in grid.rows} == {"shortcut", "view"}
    (first, *_) = table.only(slices, lambda row: row.key == "shortcut=broken")
    assert [row.label for row in first.rows] == ["shortcut broken"]


def test_headlines_have_the_broken_shortcut(run: Run) -> None:
    assert [row.key for row in table.headlines(run)][:2] == ["overall_accuracy", "overall_accuracy@shortcut=broken"]


def _run(*counts: tuple[int, int]) -> Run:
    models = [
        Evaluated(name=f"m{index}", measures=(Measure(metric="x", value=1.0, items=items, clusters=clusters),))
        for index, (items, clusters) in enumerate(counts)
    ]
    return Run(root=".", models=tuple(models))


def test_counts_behind_a_row() -> None:
    assert table.results(_run((1200, 30), (1200, 30))).rows[0].behind == "1,200 / 30"
    assert table.results(_run((10, 3), (9, 3))).rows[0].behind == "differ"


def test_a_metric_that_a_model_lacks_is_an_empty_cell() -> None:
    run = _run((10, 3)).model_copy(update={"models": (*_run((10, 3)).models, Evaluated(name="other"))})
    assert table.results(run).rows[0].cells[1] is None
