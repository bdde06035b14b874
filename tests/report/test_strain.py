"""Robustness and attention on the page: the stored numbers, nothing where they were not asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medpref.report.page import write_report
from medpref.report.read import read_run
from medpref.report.strain import attention, robustness
from medpref.report.values import Run
from medpref.report.words import number


def test_what_the_worst_severity_costs_is_a_table_of_stored_numbers(run: Run, page: Path) -> None:
    section = page.read_text(encoding="utf-8").partition('id="robustness"')[2].partition("</section>")[0]
    found = robustness(run)
    assert found is not None
    assert [row.label for row in found.worst.rows] == ["All", "Blur", "Noise"]
    assert [row.label for row in found.severities.rows] == ["As it is", *(f"Severity {n}" for n in range(1, 6))]
    for model in run.models:
        (worst,) = [
            row for row in model.degraded if (row.degradation, row.severity, row.metric) == ("noise", 5, "loss")
        ]
        value, low, high = (number(end, percent=True) for end in (worst.value, worst.low, worst.high))
        assert f'{value}<span class="ci">{low} to {high}</span>' in section
    assert "in 2 ways" in section


def test_each_way_is_drawn_for_every_model_with_its_intervals(run: Run) -> None:
    found = robustness(run)
    assert found is not None
    assert [panel.title for panel in found.overall] == ["Mean over all ways: accuracy, %"]
    assert [panel.title for panel in found.ways] == ["Blur: accuracy, %", "Noise: accuracy, %"]
    for panel in (*found.overall, *found.ways):
        assert len(panel.legend) == len(run.models)
        assert panel.figure.count('class="reach') == 6 * len(run.models)


def test_attention_is_drawn_by_layer_counted_from_one(run: Run) -> None:
    found = attention(run)
    assert [panel.title for panel in found] == ["Attention on the regions, ratio", "Attention to regions, JS, nats"]
    assert found[0].figure.count('class="reach') == 4 * len(run.models)


@pytest.mark.parametrize("names", [("robustness.json",), ("attention.json",), ("robustness.json", "attention.json")])
def test_what_was_not_asked_for_is_not_there(run_root: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    for folder in ("examples", "eval"):
        shutil.copytree(run_root / folder, tmp_path / folder)
    shutil.copy(run_root / "run.json", tmp_path)
    for name in names:
        for path in tmp_path.glob(f"eval/*/{name}"):
            path.unlink()
    run = read_run(tmp_path)
    assert (robustness(run) is None) == ("robustness.json" in names)
    assert (attention(run) == []) == ("attention.json" in names)
    write_report(tmp_path, tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    for name in ("robustness", "attention"):
        assert (f'id="{name}"' in text) == (f'href="#{name}"' in text) == (f"{name}.json" not in names)
