"""Ticks enclose their data in equal round steps; a scale is linear."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.report.axes import frame, linear, tick_text, ticks, ticks_inside

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))


@settings(deadline=None, max_examples=200)
@given(NUMBERS, NUMBERS)
def test_ticks_enclose_the_range_in_equal_round_steps(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    marks = ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    steps = [after - before for before, after in itertools.pairwise(marks)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-5, abs_tol=1e-9) for step in steps)
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert any(math.isclose(mantissa, factor, rel_tol=1e-4) for factor in (1, 2, 2.5, 5, 10))
    assert 2 <= len(marks) <= 8


def test_ticks_by_hand() -> None:
    assert ticks(0.0, 1.0) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert ticks(-3.0, 12.0) == [-5.0, 0.0, 5.0, 10.0, 15.0]


def test_a_single_value_still_has_an_axis() -> None:
    marks = ticks(5.0, 5.0)
    assert marks[0] < 5.0 < marks[-1]
    assert ticks(0.0, 0.0)[0] < 0 < ticks(0.0, 0.0)[-1]


def test_ticks_inside_are_whole_on_wide_axes_only() -> None:
    assert ticks_inside(0.5, 11.5) == [5.0, 10.0]
    assert ticks_inside(0.75, 1.25) == [0.8, 1.0, 1.2]


@pytest.mark.parametrize(("value", "text"), [(0.25, "0.25"), (12000, "12k"), (1e-5, "1e−5"), (-2, "−2"), (0, "0")])
def test_tick_text(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_a_scale_takes_ends_to_ends() -> None:
    place = linear((10, 20), (0, 100))
    assert [place(10), place(15), place(20)] == [0, 50, 100]


def test_a_figure_says_what_it_shows_and_escapes_it() -> None:
    drawn = frame(10, 20, name='a "b" <c>', parts=[])
    assert 'role="img"' in drawn
    assert 'aria-label="a &#34;b&#34; &lt;c&gt;"' in drawn
