"""Lines of several models: few on a chart, each with a legend, none lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.report.lines import Line, charts
from medpref.report.words import model_label


def line(name: str, ys: list[float | None] | None = None) -> Line:
    return Line(name, [0, 1, 2], ys or [0.5, 0.4, 0.3])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 13), st.booleans())
def test_every_model_is_drawn_and_no_colour_is_used_twice_on_a_chart(others: int, fixed: bool) -> None:
    names = [*(["base", "sft"] if fixed else []), *(f"m{number}" for number in range(others))]
    found = charts("Error", [line(name) for name in names], x_label="x")
    shown = {label for panel in found for label, _ in panel.legend}
    assert shown == {model_label(name) for name in names}
    for panel in found:
        colours = [colour for _, colour in panel.legend]
        assert len(set(colours)) == len(colours) <= 6
        assert panel.figure.count('<path class="curve') == len(colours)
        assert not fixed or colours[:2] == [0, 3]


def test_intervals_are_bars_beside_each_other_and_widen_the_axis() -> None:
    lines = [
        line("base")._replace(ends=[(0.4, 0.6), None, (0.1, 0.9)]),
        line("dpo")._replace(ends=[(0.4, 0.6), (0.3, 0.5), (0.2, 0.4)]),
    ]
    (panel,) = charts("Error", lines, x_label="x")
    bars = re.findall(
        r'<line class="reach s(\d)" x1="([\d.]+)" x2="([\d.]+)" y1="([\d.]+)" y2="([\d.]+)"', panel.figure
    )
    assert [bar[0] for bar in bars] == ["0", "0", "1", "1", "1"]
    assert all(first == second for _, first, second, _, _ in bars)
    assert float(bars[2][1]) - float(bars[0][1]) == pytest.approx(2.5, abs=0.11)
    assert all(0 < float(y) < 176 for bar in bars for y in bar[3:])


def test_without_lines_there_is_no_chart() -> None:
    assert charts("Error", [], x_label="x") == []
