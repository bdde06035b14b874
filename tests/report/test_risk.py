"""Risk-coverage on the page: the stored numbers, each with its interval, and nothing where there is no confidence."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpref.errors import DataError
from medpref.report.page import RiskCurves, write_report
from medpref.report.risk import confidences, with_risk
from medpref.report.values import Run
from medpref.report.words import model_label, number


def test_every_model_s_area_and_errors_are_on_the_page(run: Run, page: Path, curves: RiskCurves) -> None:
    section = page.read_text(encoding="utf-8").partition('id="confidence"')[2].partition("</section>")[0]
    assert "Free reply" in section
    assert "Forced choice" not in section, "this run has no forced choices"
    for model in run.models:
        (curve,) = curves[model.name]
        whole = curve["points"][-1]
        for held in (curve["area"], curve["points"][9], whole):
            value, low, high = (number(held[key], percent=True) for key in ("value", "low", "high"))
            assert f'{value}<span class="ci">{low} to {high}</span>' in section
        accuracy = next(m for m in model.measures if (m.metric, m.kind, m.slice) == ("overall_accuracy", "all", "all"))
        assert curve["items"] == len([row for row in model.verdicts if row.metric != "grounding_drop"])
        assert accuracy.value is not None
        assert whole["value"] == pytest.approx(1 - accuracy.value)


def test_rows_and_lines_follow_the_run_s_models(run: Run, curves: RiskCurves) -> None:
    (held,) = confidences(with_risk(run, curves))
    assert [row.model for row in held.rows] == [model_label(model.name) for model in run.models]
    assert [label for panel in held.panels for label, _ in panel.legend] == [row.model for row in held.rows]
    some = {"sft": curves["sft"]}
    (only,) = confidences(with_risk(run, some))
    assert [row.model for row in only.rows] == ["SFT"]


def test_without_confidences_there_is_no_section(run_root: Path, tmp_path: Path) -> None:
    write_report(run_root, tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'id="confidence"' not in text
    assert 'href="#confidence"' not in text


def test_a_curve_that_is_none_is_named(run: Run) -> None:
    with pytest.raises(DataError, match="risk-coverage of sft"):
        with_risk(run, {"sft": [{"confidence": "reply"}]})
