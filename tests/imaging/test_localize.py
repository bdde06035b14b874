import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medpref.errors import DataError
from medpref.imaging.heatmap import above_mean_minus_std, hot, read_map
from medpref.imaging.legacy import warn_legacy
from medpref.imaging.regions import area, mask_to_array, region_array, region_of
from medpref.registry import LOCALIZERS
from medpref.schema import Example, ImageRef, Region

IMAGE = np.zeros((20, 30), dtype=np.uint8)


def make(kind: str, **fields: Any) -> Any:
    return LOCALIZERS.parse({"kind": kind, **fields}, where="test")


def example(*regions: Region, id: str = "e/1") -> Example:
    ref = ImageRef(path="films/f7.png", sha256="ab" * 32)
    return Example(id=id, patient="p", images=(ref, ref), question="q", answer="a", split="train", regions=regions)


def square(size: int, **fields: Any) -> Region:
    inside = np.zeros((20, 30), dtype=bool)
    inside[5 : 5 + size, 5 : 5 + size] = True
    return region_of(inside, **fields)


def test_given_regions_of_the_image_and_label_asked_for() -> None:
    lesion, other, second = square(4, label="Mass"), square(2, label="heart"), square(3, label="mass", image=1)
    held = example(lesion, other, second)
    assert make("given_regions").locate(held, IMAGE) == (lesion, other)
    assert make("given_regions", labels=["mass"]).locate(held, IMAGE) == (lesion,)
    assert make("given_regions", labels=["mass"]).locate(held, IMAGE, index=1) == (second,)


def test_nothing_found_is_empty_unless_a_fallback_is_written() -> None:
    assert make("given_regions").locate(example(), IMAGE) == ()
    (whole,) = make("given_regions", fallback="whole_image").locate(example(), IMAGE)
    assert whole.box == (0, 0, 30, 20)
    assert whole.origin == "given_regions: none, whole_image instead"


def test_area_limits_and_dilation() -> None:
    held = example(square(4, label="a", confidence=0.5), square(1, label="b"))
    assert [r.label for r in make("given_regions", min_share=0.01).locate(held, IMAGE)] == ["a"]
    assert make("given_regions", max_share=0.02).locate(held, IMAGE) == ()
    (wide, dot) = make("given_regions", dilate_px=1).locate(held, IMAGE)
    assert (wide.label, wide.confidence) == ("a", 0.5)
    assert area(mask_to_array(wide.mask)) == 16 + 4 * 4
    assert area(mask_to_array(dot.mask)) == 5


def test_whole_image() -> None:
    (region,) = make("whole_image").locate(example(), IMAGE, index=1)
    assert (region.box, region.image) == ((0, 0, 30, 20), 1)
    assert region_array([region], 20, 30).all()


def test_a_heat_map_s_hot_part_with_its_share(tmp_path: Path) -> None:
    heat = np.zeros((20, 30))
    heat[2:6, 10:15] = np.linspace(0.5, 1, 20).reshape(4, 5)
    np.save(tmp_path / "e_1.npy", heat)
    (region,) = make("heatmap_regions", folder=str(tmp_path), quantile=0.9).locate(example(), IMAGE)
    assert np.array_equal(mask_to_array(region.mask), heat > 0)
    assert region.origin == "heatmap_regions e_1.npy: quantile 0.9, covers 0.0333"
    assert region.confidence == pytest.approx(0.75)
    assert region.box == (10, 2, 15, 6)


def test_a_map_may_be_named_for_its_image_and_is_enlarged(tmp_path: Path) -> None:
    small = np.zeros((4, 6), dtype=np.uint8)
    small[0, 0] = 255
    Image.fromarray(small).save(tmp_path / "f7.png")
    (region,) = make("heatmap_regions", folder=str(tmp_path), quantile=0.95).locate(example(), IMAGE)
    share = area(mask_to_array(region.mask)) / 600
    assert 0 < share <= 0.05
    assert region.box[:2] == (0, 0)


def test_a_flat_map_gives_nothing_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "e_1.npy", np.full((5, 5), 0.3))
    assert make("heatmap_regions", folder=str(tmp_path)).locate(example(), IMAGE) == ()
    with pytest.raises(DataError, match=r"no map for example 'other'; expected other\.npy or \.png, or one named"):
        make("heatmap_regions", folder=str(tmp_path)).locate(example(id="other"), IMAGE)


def test_a_bad_map_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "e_1.npy", np.array([[0.1, np.nan]]))
    with pytest.raises(DataError, match="values that are not finite; expected one finite number a pixel"):
        read_map(tmp_path / "e_1.npy")
    (tmp_path / "x.npy").write_text("no")
    with pytest.raises(DataError, match="unreadable map"):
        read_map(tmp_path / "x.npy")


@given(seed=st.integers(0, 2**32 - 1), quantile=st.floats(0.05, 0.95))
@settings(max_examples=30, deadline=None)
def test_a_quantile_bounds_the_covered_share(seed: int, quantile: float) -> None:
    heat = np.random.default_rng(seed).random((16, 16))
    assert hot(heat, quantile).mean() == pytest.approx(1 - quantile, abs=2 / 256)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_legacy_mask_covers_half_or_more(seed: int) -> None:
    """One-sided Chebyshev: at least half of any distribution lies above its mean minus one standard deviation."""
    heat = np.random.default_rng(seed).gamma(0.3, size=(24, 24))
    assert above_mean_minus_std(heat).mean() >= 0.5


def test_the_legacy_mask_by_name_and_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heat = np.zeros((20, 30))
    heat[8:12, 8:12] = 1
    np.save(tmp_path / "e_1.npy", heat)
    warn_legacy.cache_clear()
    with caplog.at_level(logging.WARNING):
        legacy = make("heatmap_regions", folder=str(tmp_path), threshold="mean_minus_std_mask")
    assert "mean_minus_std_mask repeats a released defect: it covers half of an image or more" in caplog.text
    (region,) = legacy.locate(example(), IMAGE)
    assert area(mask_to_array(region.mask)) == 600, "one sharp blob: std exceeds the mean, everything is above"
    (proper,) = make("heatmap_regions", folder=str(tmp_path)).locate(example(), IMAGE)
    assert area(mask_to_array(proper.mask)) == 16
