"""Figures put values where their axes say, and moving means are means."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.report.figure import Interval, Series, chart, forest, histogram, moving_mean, strip, thin_out

FINITE = st.floats(-1e3, 1e3, allow_nan=False)


def _numbers(pattern: str, text: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, text)]


def test_a_forest_places_values_on_the_scale_of_its_ticks() -> None:
    drawn = str(forest("accuracy", [Interval("a", 40, 20, 60), Interval("b", 80, 60, 100)]))
    marks = dict(
        zip(
            re.findall(r'text-anchor="middle">([^<]+)<', drawn),
            _numbers(r'class="tick" x="([\d.]+)"', drawn),
            strict=True,
        )
    )
    assert marks.keys() == {"20", "40", "60", "80", "100"}
    assert _numbers(r'circle cx="([\d.]+)"', drawn) == [marks["40"], marks["80"]]
    assert _numbers(r'class="bar" x1="([\d.]+)"', drawn) == [marks["20"], marks["60"]]
    assert _numbers(r'class="bar" x1="[\d.]+" x2="([\d.]+)"', drawn) == [marks["60"], marks["100"]]
    assert "a 40 (20 to 60)" in drawn


def test_a_strip_lies_on_the_side_of_zero_that_the_difference_is_on() -> None:
    for low, high in ((0.1, 0.3), (-0.3, -0.1)):
        drawn = str(strip(Interval("d", (low + high) / 2, low, high), (-0.5, 0.5)))
        zero, left, right = (_numbers(rf'class="{css}" x1="([\d.]+)"', drawn)[0] for css in ("zero", "bar", "bar"))
        right = _numbers(r'class="bar" x1="[\d.]+" x2="([\d.]+)"', drawn)[0]
        assert (left > zero) == (low > 0)
        assert (right > zero) == (high > 0)


def test_a_hostile_label_stays_text() -> None:
    drawn = str(forest("<b>", [Interval("</svg><script>", 1, 0, 2)]))
    assert "<script" not in drawn
    assert "&lt;/svg&gt;" in drawn


def test_a_curve_has_a_gap_where_a_value_is_missing() -> None:
    drawn = str(chart("loss", [Series("loss", [1, 2, 3, 4, 5], [1.0, 2.0, None, 2.0, 1.0])]))
    path = re.search(r'<path class="curve[^"]*" d="([^"]+)"', drawn)
    assert path is not None
    assert path[1].count("M") == 2
    assert path[1].count("L") == 2


def test_a_moving_mean_is_drawn_from_forty_values_on() -> None:
    for count, lines in ((39, 1), (40, 2)):
        drawn = str(chart("loss", [Series("", list(range(count)), [float(i % 3) for i in range(count)])]))
        assert drawn.count("<path") == lines


def test_a_histogram_has_the_height_of_its_counts() -> None:
    drawn = str(histogram("lengths", [Series("", [0, 1, 2], [10, 20])], x_label="words"))
    heights = dict(
        zip(
            re.findall(r'text-anchor="end">([^<]+)<', drawn),
            _numbers(r'class="tick" x="[\d.]+" y="([\d.]+)" text-anchor="end"', drawn),
            strict=True,
        )
    )
    path = re.search(r'class="area s0" d="([^"]+)"', drawn)
    assert path is not None
    tops = sorted({float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)", path[1])})
    assert tops[:2] == [heights["20"] - 4, heights["10"] - 4]
    assert "30 in all" in drawn


@settings(deadline=None, max_examples=80)
@given(st.lists(FINITE, min_size=1, max_size=60), st.integers(1, 9))
def test_a_moving_mean_is_the_mean_of_its_window(ys: list[float], window: int) -> None:
    half = window // 2
    expected = [np.mean(ys[max(0, i - half) : i + half + 1]) for i in range(len(ys))]
    np.testing.assert_allclose(moving_mean(ys, window), expected, atol=1e-9)


@settings(deadline=None, max_examples=80)
@given(st.lists(FINITE, min_size=1, max_size=500), st.integers(1, 50))
def test_thinning_keeps_the_mean_and_the_limit(ys: list[float], limit: int) -> None:
    xs = [float(i) for i in range(len(ys))]
    thin_x, thin_y = thin_out(xs, ys, limit=limit)
    size = -(-len(ys) // limit)
    weights = [len(ys[start : start + size]) for start in range(0, len(ys), size)]
    assert len(thin_x) <= limit
    np.testing.assert_allclose(np.average(thin_y, weights=weights), np.mean(ys), atol=1e-6)
    assert thin_x == sorted(thin_x)


def test_few_points_are_not_thinned() -> None:
    assert thin_out([1.0, 2.0], [5.0, None], limit=300) == ([1.0, 2.0], [5.0, None])
