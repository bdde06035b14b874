"""Films and masks: equal seeds give equal bytes; a lesion changes the film where its mask says, and nowhere else."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from medpref.imaging.mark import paint_box
from medpref.sources.phantom import draw, draw_cohort
from medpref.sources.phantom_anatomy import thorax
from medpref.sources.phantom_cohort import (
    ATELECTASIS,
    CARDIOMEGALY,
    CONSOLIDATION,
    EFFUSION,
    FINDINGS,
    GRADES,
    LESIONS,
    NODULE,
    PNEUMOTHORAX,
    Cohort,
)
from medpref.sources.phantom_film import tone
from medpref.sources.phantom_lesions import place
from medpref.sources.phantom_regions import region

SIZE_PX = 96
GRADE_FIELDS = {
    CARDIOMEGALY: "heart_grade",
    EFFUSION: "effusion_grade",
    PNEUMOTHORAX: "pneumothorax_grade",
    CONSOLIDATION: "consolidation_grade",
}


def some(seed: int, count: int = 12) -> Cohort:
    return draw_cohort(seed, "train", range(count), shortcut=0.0, studies_per_patient=1)


def with_finding(finding: str, count: int) -> Cohort:
    cohort = some(5, 160)
    rows = np.flatnonzero(cohort.present(finding))[:count]
    assert len(rows) == count
    return cohort.take(rows)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = draw(some(1), SIZE_PX), draw(some(1), SIZE_PX), draw(some(2), SIZE_PX)
    assert first.images.dtype == np.uint8
    assert first.images.tobytes() == again.images.tobytes()
    assert all((a != b).mean() > 0.5 for a, b in zip(first.images, other.images, strict=True))


def test_a_film_does_not_depend_on_its_neighbours_in_the_cohort() -> None:
    cohort = some(3, 11)
    together = draw(cohort, SIZE_PX)
    rows = np.array([9, 2, 2])
    apart = draw(cohort.take(rows), SIZE_PX)
    assert np.array_equal(apart.images, together.images[rows])
    assert all(np.array_equal(apart.masks[f], together.masks[f][rows]) for f in FINDINGS)


@pytest.mark.parametrize("size_px", [96, 128, 224])
def test_films_look_like_chests_at_every_size(size_px: int) -> None:
    """Grey levels where every radiograph has them: black beside the neck, dark lungs, brighter heart and belly."""
    images = draw(some(4, 24).without(FINDINGS), size_px).images.astype(float)

    def grey(x: float, y: float) -> np.ndarray:
        row, column, near = round(y * size_px), round((x + 0.5) * size_px), size_px // 32
        return images[:, row - near : row + near + 1, column - near : column + near + 1].mean((1, 2))

    air, lungs, heart, belly = (
        grey(0.30, 0.05),
        (grey(-0.22, 0.45) + grey(0.22, 0.45)) / 2,
        grey(0.03, 0.68),
        grey(-0.15, 0.92),
    )
    assert (air < 0.7 * lungs).all()
    assert (lungs * 1.4 < heart).all()
    assert (lungs * 1.4 < belly).all()


@pytest.mark.parametrize("finding", FINDINGS)
def test_film_and_counterfactual_differ_where_the_mask_lies_and_nowhere_else(finding: str) -> None:
    cohort = with_finding(finding, 20)
    films, without = draw(cohort, 128), draw(cohort.without([finding]), 128)
    difference = np.abs(films.images.astype(int) - without.images)
    for row, mask in enumerate(films.masks[finding] > 0):
        near = binary_dilation(mask, iterations=2)
        assert difference[row][~near].max() <= 2, "grey levels far from the mask"
        assert (difference[row][mask] > 0).mean() > 0.5
        assert difference[row][mask].mean() > 8
        assert not without.masks[finding].any()


def test_a_counterfactual_leaves_the_other_findings_in_place() -> None:
    cohort = some(6, 60)
    less = cohort.without([EFFUSION, NODULE])
    for finding in FINDINGS:
        expected = np.zeros(60, bool) if finding in (EFFUSION, NODULE) else cohort.present(finding)
        assert np.array_equal(less.present(finding), expected)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=8, deadline=None)
def test_masks_exist_for_exactly_the_findings_that_are_present(seed: int) -> None:
    cohort = some(seed, 12)
    films = draw(cohort, SIZE_PX)
    for finding in FINDINGS:
        area = (films.masks[finding] > 0).sum((1, 2))
        assert np.array_equal(area > 0, cohort.present(finding)), finding
        assert (area[cohort.present(finding)] >= 12).all(), "large enough to be seen"


@given(seed=st.integers(0, 2**31))
@settings(max_examples=6, deadline=None)
def test_the_patients_right_is_the_left_half_of_the_picture(seed: int) -> None:
    cohort = some(seed, 12)
    films = draw(cohort, SIZE_PX)
    left_half = np.arange(SIZE_PX) < SIZE_PX / 2

    def mostly_left(finding: str, row: int) -> bool:
        mask = films.masks[finding][row] > 0
        return bool(mask[:, left_half].sum() > mask[:, ~left_half].sum())

    for row in range(len(cohort)):
        if cohort.consolidation_slot[row] >= 0:
            assert mostly_left(CONSOLIDATION, row) == (cohort.consolidation_slot[row] < 3)
        if cohort.atelectasis_slot[row] >= 0:
            assert mostly_left(ATELECTASIS, row) == (cohort.atelectasis_slot[row] < 3)
        if cohort.pneumothorax_grade[row]:
            assert mostly_left(PNEUMOTHORAX, row) == (cohort.pneumothorax_side[row] == 0)
        if (cohort.effusion_grade[row] > 0).sum() == 1:
            assert mostly_left(EFFUSION, row) == (cohort.effusion_grade[row, 0] > 0)


@pytest.mark.parametrize("finding", GRADES)
def test_a_higher_grade_is_a_larger_lesion_on_the_same_film(finding: str) -> None:
    cohort = with_finding(finding, 10)
    held = getattr(cohort, GRADE_FIELDS[finding])
    graded = [replace(cohort, **{GRADE_FIELDS[finding]: np.where(held > 0, grade, 0)}) for grade in (1, 2, 3)]
    areas = [(draw(one, SIZE_PX).masks[finding] > 0).sum((1, 2)) for one in graded]
    assert (areas[0] * 1.05 < areas[1]).all()
    assert (areas[1] * 1.05 < areas[2]).all()


def test_each_nodule_is_a_part_of_its_own_and_a_disc_of_its_size() -> None:
    cohort = some(8, 200)
    alone = cohort.present(NODULE) & ~np.any([cohort.present(f) for f in LESIONS if f != NODULE], axis=0)
    cohort = cohort.take(np.flatnonzero(alone & (cohort.device == 0))[:12])
    films = draw(cohort, 224)
    for row in range(len(cohort)):
        parts = set(np.unique(films.masks[NODULE][row])) - {0}
        assert parts == {slot + 1 for slot in np.flatnonzero(cohort.nodule_slots[row])}
        for part in parts:
            box = region(films.masks[NODULE][row] == part, NODULE).box
            radius_px = (0.044 + 0.016 * cohort.jitter[row, part - 1, 2]) * 224
            assert max(box[2] - box[0], box[3] - box[1]) == pytest.approx(2 * radius_px, abs=2.5)


def test_lesions_lie_in_the_zone_they_are_named_for() -> None:
    """Centres of slots, upper above middle above lower, by at least a tenth of the lung's height."""
    cohort = some(9, 40)
    chest = thorax(cohort, SIZE_PX)
    for side in (0, 3):
        heights = [place(chest, cohort, np.full(40, side + zone)).y.ravel() for zone in range(3)]
        assert (heights[0] + 0.07 < heights[1]).all()
        assert (heights[1] + 0.07 < heights[2]).all()


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_a_region_is_its_mask(seed: int, height: int, width: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    mask[height // 2, width // 2] = True
    found = region(mask, "nodule")
    assert found.mask is not None
    values = np.arange(len(found.mask.runs)) % 2
    assert np.array_equal(np.repeat(values, found.mask.runs).reshape(height, width).astype(bool), mask)
    left, top, right, bottom = found.box
    assert mask[top:bottom, left:right].sum() == mask.sum()
    assert mask[top].any()
    assert mask[bottom - 1].any()
    assert mask[:, left].any()
    assert mask[:, right - 1].any()


def test_a_painted_box_is_a_white_frame_and_nothing_else() -> None:
    image = np.full((96, 96), 7, np.uint8)
    framed = paint_box(image, (10, 20, 30, 50))
    assert (framed == 255).sum() == 2 * 20 + 2 * 30 - 4
    assert (framed[21:49, 11:29] == 7).all()
    assert (image == 7).all()


def test_the_tone_curve_rises_and_stays_grey() -> None:
    grey = tone(np.linspace(-0.5, 3, 999, dtype=np.float32))
    assert (np.diff(grey) >= 0).all()
    assert grey.min() == 0
    assert 220 < grey.max() <= 255


def test_drawing_is_fast(capsys: pytest.CaptureFixture[str]) -> None:
    """The aim is 200 studies a second on one free core (benchmarks/phantom.py); here only a very loose bound holds."""
    cohort = some(0, 32)
    draw(cohort.take(slice(0, 1)))
    began = time.perf_counter()
    draw(cohort)
    rate = 32 / (time.perf_counter() - began)
    with capsys.disabled():
        print(f"\n[phantom: {rate:.0f} studies/s at 128 px]")
    assert rate > 5
