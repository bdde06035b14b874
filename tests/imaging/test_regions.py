import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medpref.errors import DataError
from medpref.imaging.regions import (
    area,
    array_to_mask,
    bounding_box,
    box_array,
    dilate,
    mask_to_array,
    matched_background,
    region_array,
    region_of,
)
from medpref.schema import Mask, Region

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
MASKS = hnp.arrays(bool, SHAPES)
fast = settings(max_examples=60, deadline=None)


def test_run_lengths_by_hand() -> None:
    inside = np.array([[1, 0, 0], [0, 1, 1]], dtype=bool)
    mask = array_to_mask(inside)
    assert mask == Mask(height=2, width=3, runs=(0, 1, 3, 2))
    assert mask_to_array(mask).tolist() == inside.tolist()
    assert array_to_mask(np.zeros((2, 2), dtype=bool)).runs == (4,)
    assert array_to_mask(np.ones((2, 2), dtype=bool)).runs == (0, 4)


@given(MASKS)
@fast
def test_run_lengths_round_trip(inside: np.ndarray) -> None:
    mask = array_to_mask(inside)
    assert np.array_equal(mask_to_array(mask), inside)
    assert sum(mask.runs[1::2]) == area(inside)
    assert mask == Mask.model_validate_json(mask.model_dump_json())


@given(MASKS.filter(np.any))
@fast
def test_a_region_s_box_is_tight(inside: np.ndarray) -> None:
    region = region_of(inside, label="x")
    left, top, right, bottom = region.box
    box = box_array(region.box, *inside.shape)
    assert not (inside & ~box).any()
    for edge in (inside[top], inside[bottom - 1], inside[:, left], inside[:, right - 1]):
        assert edge.any()
    assert np.array_equal(region_array([region], *inside.shape), inside)


def test_union_of_a_mask_and_a_box() -> None:
    mask = region_of(np.eye(4, dtype=bool))
    box = Region(box=(2, 0, 4, 1))
    union = region_array([mask, box], 4, 4)
    assert union.astype(int).tolist() == [[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert area(region_array([], 4, 4)) == 0


def test_a_mask_of_another_size_and_a_box_outside_are_errors() -> None:
    with pytest.raises(DataError, match="a mask of 4 x 4 pixels; expected the image's 5 x 4; resize the mask"):
        region_array([region_of(np.eye(4, dtype=bool))], 4, 5)
    with pytest.raises(DataError, match=r"box \[9, 9, 12, 12\]; expected a box that meets the image of 8 x 8 pixels"):
        region_array([Region(box=(9, 9, 12, 12))], 8, 8)
    with pytest.raises(ValueError, match="empty mask"):
        bounding_box(np.zeros((3, 3), dtype=bool))


def test_dilation_is_a_disc() -> None:
    inside = np.zeros((7, 7), dtype=bool)
    inside[3, 3] = True
    assert area(dilate(inside, 1)) == 5
    assert area(dilate(inside, 1.5)) == 9
    assert area(dilate(inside, 2)) == 13
    assert np.array_equal(dilate(inside, 0), inside)
    assert not dilate(np.zeros((3, 3), dtype=bool), 4).any()


@given(MASKS, st.integers(0, 2**32 - 1))
@fast
def test_background_is_an_equal_area_that_misses_the_mask(inside: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if not 0 < 2 * area(inside) <= inside.size:
        with pytest.raises(DataError, match="expected more than nothing and at most half"):
            matched_background(inside, rng)
        return
    moved = matched_background(inside, rng)
    assert area(moved) == area(inside)
    assert not (moved & inside).any()
    assert np.array_equal(moved, matched_background(inside, np.random.default_rng(seed)))


def test_background_keeps_the_shape_and_reaches_every_free_place() -> None:
    lesion = np.zeros((6, 6), dtype=bool)
    lesion[0, 0] = lesion[1, 0] = lesion[1, 1] = True
    places = set()
    for seed in range(400):
        moved = matched_background(lesion, np.random.default_rng(seed))
        left, top, right, bottom = bounding_box(moved)
        assert moved[top:bottom, left:right].tolist() == [[True, False], [True, True]]
        places.add((top, left))
    by_hand = {
        (top, left)
        for top in range(5)
        for left in range(5)
        if not {(top, left), (top + 1, left), (top + 1, left + 1)} & {(0, 0), (1, 0), (1, 1)}
    }
    assert places == by_hand


def test_background_prefers_places_as_bright_as_the_lesion() -> None:
    image = np.zeros((32, 32), dtype=np.uint8)
    image[:, 16:] = 200
    lesion = np.zeros((32, 32), dtype=bool)
    lesion[4:8, 20:24] = True
    for seed in range(20):
        moved = matched_background(lesion, np.random.default_rng(seed), image=image, alike=0.2)
        assert image[moved].min() == 200
    anywhere = [
        matched_background(lesion, np.random.default_rng(seed), image=image)[:, :16].any() for seed in range(40)
    ]
    assert any(anywhere)
    assert not all(anywhere)


def test_two_far_parts_move_one_by_one() -> None:
    lesion = np.zeros((20, 20), dtype=bool)
    lesion[:, 0] = lesion[:, 19] = True
    moved = matched_background(lesion, np.random.default_rng(0))
    columns = np.flatnonzero(moved.any(axis=0))
    assert len(columns) == 2
    assert moved[:, columns].all()
