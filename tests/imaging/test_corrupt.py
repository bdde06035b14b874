import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.errors import DataError, RecipeError
from medpref.imaging.compare import compare, compare_drawn
from medpref.imaging.corrupt import reapply
from medpref.imaging.corrupt_noise import alpha_bar, wrapped
from medpref.imaging.decode import encode_png
from medpref.imaging.legacy import warn_legacy
from medpref.imaging.regions import mask_to_array, region_of
from medpref.registry import CORRUPTIONS
from medpref.schema import Mask, Region

OF_A_REGION = (
    "gaussian_noise",
    "diffuse",
    "blackout",
    "mean_fill",
    "blur",
    "inpaint",
    "shuffle_patches",
    "wraparound_noise",
    "background",
)
EVERY = (*OF_A_REGION, "crop", "unchanged")


def make(kind: str, **fields: Any) -> Any:
    return CORRUPTIONS.parse({"kind": kind, **fields}, where="test")


def noise_image(seed: int, *, colour: bool = False, height: int = 40, width: int = 48) -> np.ndarray:
    shape = (height, width, 3) if colour else (height, width)
    return np.random.default_rng(seed).integers(30, 226, shape, dtype=np.uint8)


def disc(height: int = 40, width: int = 48, *, centre: tuple[int, int] = (14, 16), radius: float = 9) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def run(kind: str, image: np.ndarray, inside: np.ndarray, *, seed: int = 0, **fields: Any) -> tuple[np.ndarray, dict]:
    corruption = make(kind, **fields)
    parameters = corruption.draw(image, [region_of(inside)], np.random.default_rng(seed))
    return corruption.apply(image, parameters), parameters


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("colour", [False, True])
def test_stored_parameters_rebuild_the_view_bit_for_bit(kind: str, colour: bool) -> None:
    image = noise_image(1, colour=colour)
    before = image.copy()
    view, parameters = run(kind, image, disc())
    assert np.array_equal(image, before), "the clean image must not be touched"
    assert view.dtype == np.uint8
    assert view.shape == image.shape
    stored = json.loads(json.dumps(parameters))
    assert stored["kind"] == kind
    assert np.array_equal(reapply(image, stored), view)
    again, same = run(kind, image, disc())
    assert same == parameters
    assert np.array_equal(again, view)


@pytest.mark.parametrize("kind", OF_A_REGION)
@given(seed=st.integers(0, 2**32 - 1), radius=st.floats(1, 12), colour=st.booleans())
@settings(max_examples=12, deadline=None)
def test_pixels_outside_the_mask_keep_their_bits(kind: str, seed: int, radius: float, colour: bool) -> None:
    image, lesion = noise_image(seed, colour=colour), disc(radius=radius)
    view, parameters = run(kind, image, lesion, seed=seed)
    inside = mask_to_array(Mask.model_validate(parameters["mask"]))
    assert np.array_equal(view[~inside], image[~inside])
    assert int(inside.sum()) == int(lesion.sum())
    if kind == "background":
        assert not (inside & lesion).any()
        assert np.array_equal(view[lesion], image[lesion])
    else:
        assert np.array_equal(inside, lesion)


@pytest.mark.parametrize("kind", [kind for kind in OF_A_REGION if kind != "shuffle_patches"])
def test_the_region_does_change(kind: str) -> None:
    view, parameters = run(kind, noise_image(2), disc())
    change = compare_drawn(noise_image(2), view, parameters)
    assert change.inside is not None
    assert change.inside > 5
    assert change.outside == 0


@pytest.mark.parametrize("kind", OF_A_REGION)
def test_no_region_is_an_error_not_a_clean_corrupt_view(kind: str) -> None:
    with pytest.raises(DataError, match=r"no region; expected at least one pixel to corrupt; drop the corrupt view"):
        make(kind).draw(noise_image(0), [], np.random.default_rng(0))


def test_an_image_of_another_size_is_refused() -> None:
    _, parameters = run("gaussian_noise", noise_image(0), disc())
    with pytest.raises(
        DataError, match="an image of 9 x 9 pixels; expected 48 x 40, as when the parameters were drawn"
    ):
        reapply(np.zeros((9, 9), dtype=np.uint8), parameters)


def test_noise_has_its_sigma_where_nothing_clips() -> None:
    image, whole = np.full((200, 200), 128, dtype=np.uint8), np.ones((200, 200), dtype=bool)
    view, _ = run("gaussian_noise", image, whole, sigma=20.0)
    difference = view.astype(float) - 128
    assert abs(difference.std() - 20) < 0.3
    assert abs(difference.mean()) < 0.4
    channels, _ = run("gaussian_noise", np.full((200, 200, 3), 128, dtype=np.uint8), whole, sigma=20.0)
    assert abs(np.corrcoef(channels[..., 0].ravel(), channels[..., 1].ravel())[0, 1]) < 0.03


def test_noise_is_clipped_before_it_becomes_uint8() -> None:
    black, whole = np.zeros((200, 200), dtype=np.uint8), np.ones((200, 200), dtype=bool)
    view, _ = run("gaussian_noise", black, whole, sigma=10.0)
    assert view.max() < 60, "a negative draw must become 0, never 250"
    assert 0.48 < float((view == 0).mean()) < 0.56
    white, _ = run("gaussian_noise", np.full_like(black, 255), whole, sigma=10.0)
    assert white.min() > 195


def test_another_seed_draws_other_noise() -> None:
    first, _ = run("gaussian_noise", noise_image(0), disc(), seed=1)
    second, _ = run("gaussian_noise", noise_image(0), disc(), seed=2)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(("t", "kept"), [(100, 0.9966), (300, 0.9623), (500, 0.7448), (700, 0.3513), (999, 0.0812)])
def test_the_sigmoid_schedule_is_the_published_one(t: int, kept: float) -> None:
    assert alpha_bar("sigmoid", t) == pytest.approx(kept, abs=5e-5)


def test_the_linear_schedule_is_ddpm_s() -> None:
    assert alpha_bar("linear", 0) == pytest.approx(1 - 1e-4)
    assert alpha_bar("linear", 999) == pytest.approx(4.04e-5, rel=0.01)


def test_diffusion_shrinks_the_signal_and_adds_its_noise() -> None:
    image, whole = np.full((200, 200), 160, dtype=np.uint8), np.ones((200, 200), dtype=bool)
    view, parameters = run("diffuse", image, whole, t=300)
    kept = parameters["alpha_bar"]
    assert view.mean() == pytest.approx((np.sqrt(kept) * (160 / 127.5 - 1) + 1) * 127.5, abs=0.5)
    assert view.std() == pytest.approx(127.5 * np.sqrt(1 - kept), rel=0.02)


def test_blackout_and_mean_fill_by_hand() -> None:
    image = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
    inside = np.array([[1, 1, 0], [0, 0, 0]], dtype=bool)
    assert run("blackout", image, inside)[0].tolist() == [[0, 0, 30], [40, 50, 60]]
    assert run("blackout", image, inside, value=9)[0].tolist() == [[9, 9, 30], [40, 50, 60]]
    assert run("mean_fill", image, inside)[0].tolist() == [[45, 45, 30], [40, 50, 60]]
    assert run("mean_fill", image, np.ones((2, 3), dtype=bool))[0].tolist() == [[35] * 3] * 2
    colour = np.stack([image, image + 100, image * 0], axis=2)
    assert run("mean_fill", colour, inside)[0][0, 0].tolist() == [45, 145, 0]


def test_blur_keeps_a_flat_image_and_flattens_a_rough_one() -> None:
    flat = np.full((40, 48), 77, dtype=np.uint8)
    assert np.array_equal(run("blur", flat, disc())[0], flat)
    rough = noise_image(3)
    assert run("blur", rough, disc())[0][disc()].std() < 0.2 * rough[disc()].std()


def test_inpainting_restores_a_slope_exactly() -> None:
    rows, columns = np.mgrid[:40, :48]
    slope = (2 * rows + 3 * columns).astype(np.uint8)
    damaged = slope.copy()
    damaged[disc()] = 255
    assert np.array_equal(run("inpaint", damaged, disc(), grain=0)[0], slope)


@given(seed=st.integers(0, 2**32 - 1), radius=st.floats(1, 13))
@settings(max_examples=20, deadline=None)
def test_inpainting_stays_between_the_rim_s_extremes(seed: int, radius: float) -> None:
    image, inside = noise_image(seed), disc(radius=radius)
    view, _ = run("inpaint", image, inside, grain=0)
    rim = disc(radius=radius + 1.5) & ~inside
    assert view[inside].min() >= image[rim].min()
    assert view[inside].max() <= image[rim].max()


def test_inpainting_at_the_edge_of_a_flat_image_changes_nothing() -> None:
    flat = np.full((12, 12, 3), 60, dtype=np.uint8)
    inside = np.zeros((12, 12), dtype=bool)
    inside[:, :5] = True
    assert np.array_equal(run("inpaint", flat, inside)[0], flat)


def test_inpainting_needs_surroundings() -> None:
    with pytest.raises(DataError, match="the whole image; expected surroundings to continue"):
        run("inpaint", noise_image(0), np.ones((40, 48), dtype=bool))


def test_inpainted_grain_is_as_rough_as_the_surroundings() -> None:
    image = np.clip(np.random.default_rng(0).normal(120, 12, (80, 80)), 0, 255).astype(np.uint8)
    inside = disc(80, 80, centre=(40, 40), radius=20)
    smooth, rough = run("inpaint", image, inside, grain=0)[0], run("inpaint", image, inside)[0]
    core = disc(80, 80, centre=(40, 40), radius=14)
    assert smooth[core].std() < 3
    assert rough[core].std() == pytest.approx(12, rel=0.15)


@given(seed=st.integers(0, 2**32 - 1), low=st.floats(0.05, 0.5))
@settings(max_examples=20, deadline=None)
def test_a_crop_keeps_the_share_it_was_told(seed: int, low: float) -> None:
    image = noise_image(seed, height=200, width=300)
    view, parameters = run("crop", image, disc(200, 300), seed=seed, keep_low=low, keep_high=low + 0.1)
    left, top, right, bottom = parameters["box"]
    assert 0 <= left < right <= 300
    assert 0 <= top < bottom <= 200
    assert low - 0.01 < (right - left) * (bottom - top) / (200 * 300) < low + 0.11
    assert view.shape == image.shape


def test_a_crop_of_everything_is_the_image_and_bounds_are_ordered() -> None:
    image = noise_image(0)
    assert np.array_equal(run("crop", image, disc(), keep_low=1, keep_high=1)[0], image)
    with pytest.raises(RecipeError, match=r"keep_low 0\.5 exceeds keep_high 0\.2"):
        make("crop", keep_low=0.5)


def test_shuffling_permutes_whole_patches() -> None:
    image = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4), 8, axis=0), 8, axis=1)
    view, _ = run("shuffle_patches", image, np.ones((32, 32), dtype=bool), patch_px=8)
    patches = view[::8, ::8]
    assert sorted(patches.ravel().tolist()) == list(range(16))
    assert np.array_equal(view, np.repeat(np.repeat(patches, 8, axis=0), 8, axis=1))
    assert not np.array_equal(view, image)


def test_unchanged_changes_nothing() -> None:
    image = noise_image(5)
    view, parameters = run("unchanged", image, disc())
    assert np.array_equal(view, image)
    assert compare_drawn(image, view, parameters) == (disc().mean(), 0.0, 0.0)
    assert make("unchanged").draw(image, [], np.random.default_rng(0))["mask"]["runs"] == [image.size]


def test_swap_takes_another_image_and_notices_a_changed_one(tmp_path: Path) -> None:
    image, other = noise_image(0), noise_image(1, height=20, width=30)
    for name, pixels in (("a", image), ("b", other)):
        (tmp_path / f"{name}.png").write_bytes(encode_png(pixels))
    swap = make("swap_image").bound([tmp_path / "a.png", tmp_path / "b.png"])
    for seed in range(8):
        parameters = swap.draw(image, [], np.random.default_rng(seed))
        assert Path(parameters["path"]).name == "b.png"
        assert np.array_equal(reapply(image, parameters), other)
    assert compare_drawn(image, other, parameters).mask_share == 1
    with pytest.raises(DataError, match="a pool of 1 images, none of them another one"):
        make("swap_image").bound([tmp_path / "a.png"]).draw(image, [], np.random.default_rng(0))
    (tmp_path / "b.png").write_bytes(encode_png(image))
    with pytest.raises(DataError, match="another content; expected content"):
        reapply(image, parameters)


def test_background_repeats_the_corruption_elsewhere() -> None:
    image = noise_image(7)
    view, parameters = run("background", image, disc(radius=6), of={"kind": "blackout", "value": 3})
    assert parameters["of"]["kind"] == "blackout"
    assert set(view[view != image].tolist()) == {3}
    lesion = compare(image, view, disc(radius=6))
    assert lesion.inside == 0


def test_background_checks_what_it_moves() -> None:
    with pytest.raises(RecipeError, match="'unchanged' has no area to move"):
        make("background", of={"kind": "unchanged"})
    with pytest.raises(RecipeError, match="did you mean 'blackout'"):
        make("background", of={"kind": "blackot"})
    with pytest.raises(DataError, match="a region that covers 100% of the image"):
        run("background", noise_image(0), np.ones((40, 48), dtype=bool))


def test_wrap_around_by_hand() -> None:
    assert wrapped(np.array([-3.7, -0.5, 0.9, 12.2, 300.0])).tolist() == [253, 0, 0, 12, 44]


def test_wrap_around_has_the_statistics_of_the_released_defect() -> None:
    whole = np.ones((400, 400), dtype=bool)
    view, _ = run("wraparound_noise", np.zeros((400, 400), dtype=np.uint8), whole)
    assert view.mean() == pytest.approx(118, abs=2)
    assert view.std() == pytest.approx(120, abs=2)
    assert float((view <= 40).mean()) == pytest.approx(0.54, abs=0.01)
    assert float((view >= 216).mean()) == pytest.approx(0.46, abs=0.01)


def test_wrap_around_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    warn_legacy.cache_clear()
    with caplog.at_level(logging.WARNING):
        make("wraparound_noise")
        make("wraparound_noise")
    assert [record.getMessage() for record in caplog.records] == [
        "wraparound_noise repeats a released defect: it wraps below 0 to white; "
        "use gaussian_noise or diffuse for anything but that release's numbers"
    ]


def test_compare_by_hand() -> None:
    clean = np.zeros((2, 2), dtype=np.uint8)
    corrupt = np.array([[10, 20], [0, 4]], dtype=np.uint8)
    mask = np.array([[1, 1], [0, 0]], dtype=bool)
    assert compare(clean, corrupt, mask) == (0.5, 15.0, 2.0)
    assert compare(clean, corrupt, np.ones((2, 2), dtype=bool)) == (1.0, 8.5, None)
    colour = np.stack([clean, clean, corrupt], axis=2)
    assert compare(np.zeros_like(colour), colour, mask).inside == pytest.approx(5.0)


def test_a_region_is_box_or_mask() -> None:
    image = noise_image(0)
    boxed = make("blackout")
    parameters = boxed.draw(image, [Region(box=(2, 3, 5, 9))], np.random.default_rng(0))
    view = boxed.apply(image, parameters)
    assert (view[3:9, 2:5] == 0).all()
    assert int((view == 0).sum()) == 18
