"""An outline encloses its mask: by area, by an independent fill, and by distance after simplification."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from medpref.report.outline import Point, borders, mask_array, outline, simplify
from medpref.schema import Mask, Region
from tests.report.run_folder import run_lengths

MASKS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def _area(loop: list[Point]) -> float:
    """Signed area by the shoelace formula, positive for a loop that runs clockwise as seen (y points down)."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(loop, [*loop[1:], loop[0]], strict=True)) / 2


@settings(deadline=None, max_examples=150)
@given(MASKS)
def test_borders_enclose_exactly_the_mask(mask: np.ndarray) -> None:
    assert sum(map(_area, borders(mask))) == mask.sum()


@settings(deadline=None, max_examples=60)
@given(MASKS)
def test_borders_filled_by_pillow_are_the_mask(mask: np.ndarray) -> None:
    """Even-odd fill at eight times the size, sampled at the pixels' centres."""
    filled = np.zeros(mask.shape, dtype=bool)
    for loop in borders(mask):
        board = Image.new("1", (mask.shape[1] * 8, mask.shape[0] * 8))
        ImageDraw.Draw(board).polygon([(x * 8, y * 8) for x, y in loop], fill=1)
        filled ^= np.asarray(board)[4::8, 4::8]
    assert (filled == mask).all()


def test_a_hole_runs_the_other_way() -> None:
    mask = np.ones((3, 3), dtype=bool)
    mask[1, 1] = False
    assert sorted(map(_area, borders(mask))) == [-1, 9]


def test_pixels_that_touch_at_a_corner_have_curves_of_their_own() -> None:
    assert [_area(loop) for loop in borders(np.eye(2, dtype=bool))] == [1, 1]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=4, max_size=25, unique=True), st.floats(0.1, 5))
def test_simplifying_leaves_out_only_what_is_near(loop: list[Point], tolerance: float) -> None:
    kept = simplify(loop, tolerance)
    assert set(kept) <= set(loop)
    ring = [*kept, kept[0]]
    for point in loop:
        near = min(_to_segment(point, a, b) for a, b in itertools.pairwise(ring))
        assert near <= tolerance + 1e-9


def _to_segment(point: Point, a: Point, b: Point) -> float:
    p, start, end = (np.array(held) for held in (point, a, b))
    along = end - start
    share = 0.0 if not along.any() else float(np.clip((p - start) @ along / (along @ along), 0, 1))
    return float(np.linalg.norm(p - start - share * along))


def test_a_disc_keeps_its_area_with_few_corners() -> None:
    y, x = np.mgrid[0:64, 0:64]
    disc = (x - 32) ** 2 + (y - 30) ** 2 < 18**2
    path = outline(Region(box=(14, 12, 50, 48), mask=run_lengths(disc)))
    points = [(float(a), float(b)) for a, b in re.findall(r"([\d.]+) ([\d.]+)", path)]
    assert path.startswith("M")
    assert path.endswith("Z")
    assert len(points) < 30
    assert math.isclose(_area(points), disc.sum(), rel_tol=0.06)


def test_a_box_is_its_rectangle() -> None:
    assert outline(Region(box=(1, 2, 5, 9))) == "M1 2H5V9H1Z"


@settings(deadline=None, max_examples=60)
@given(MASKS)
def test_run_lengths_unfold_to_the_mask(mask: np.ndarray) -> None:
    assert (mask_array(run_lengths(mask)) == mask).all()


def test_run_lengths_by_hand() -> None:
    mask = Mask(height=2, width=3, runs=(1, 2, 2, 1))
    assert mask_array(mask).tolist() == [[False, True, True], [False, False, True]]
