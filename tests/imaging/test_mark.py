from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.imaging.mark import frame_px, framed, mirrored, paint_box

SIDE = 96


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    left, top = draw(st.integers(0, SIDE - 8)), draw(st.integers(0, SIDE - 8))
    return left, top, draw(st.integers(left + 4, SIDE)), draw(st.integers(top + 4, SIDE))


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (SIDE, SIDE, 3)])
@given(box=boxes(), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_frame_lies_around_the_box_and_leaves_it_and_the_rest_alone(shape, box, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 200, shape, dtype=np.uint8)
    held = image.copy()
    frame = framed(box, width=SIDE, height=SIDE)
    painted = paint_box(image, frame)
    assert np.array_equal(image, held)
    changed = (painted != image).reshape(SIDE, SIDE, -1).any(2)
    left, top, right, bottom = frame
    outside = changed.copy()
    outside[top:bottom, left:right] = False
    assert not outside.any()
    away = min(left, top, SIDE - right, SIDE - bottom) > 0
    inside = changed[box[1] : box[3], box[0] : box[2]]
    assert not (away and inside.any())
    assert (painted[changed] == 255).all()
    width = frame_px(SIDE)
    assert changed[top : top + width, left:right].all()
    assert changed[top:bottom, left : left + width].all()


def test_a_frame_by_hand() -> None:
    painted = paint_box(np.zeros((6, 8), np.uint8), (1, 1, 6, 5))
    assert (painted // 255).tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 0, 0],
        [0, 1, 0, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0, 1, 0, 0],
        [0, 1, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert frame_px(96) == 1
    assert frame_px(512) == 5


@given(box=boxes())
@settings(max_examples=60, deadline=None)
def test_a_mirrored_box_is_the_box_in_the_mirrored_image(box) -> None:
    def pixels(one) -> np.ndarray:
        held = np.zeros((SIDE, SIDE), bool)
        held[one[1] : one[3], one[0] : one[2]] = True
        return held

    assert np.array_equal(pixels(mirrored(box, width=SIDE)), pixels(box)[:, ::-1])
    assert mirrored(mirrored(box, width=SIDE), width=SIDE) == box
