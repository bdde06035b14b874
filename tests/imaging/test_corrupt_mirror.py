import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.errors import DataError
from medpref.imaging.corrupt import reapply
from medpref.imaging.regions import region_of
from medpref.registry import CORRUPTIONS
from medpref.sources.phantom_cohort import CONSOLIDATION, EFFUSION
from medpref.sources.phantom_draw import draw
from medpref.sources.phantom_shortcut import draw_cohort

from .test_corrupt import disc, noise_image, run


def test_by_hand() -> None:
    """Without a feather the mask is the other side: columns 0 and 1 of six take what 5 and 4 hold."""
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    inside = np.zeros((4, 6), dtype=bool)
    inside[1, :2] = True
    view, _ = run("mirror", image, inside, feather_px=1)
    assert view[1].tolist() == [11, 10, 8, 9, 10, 11]
    assert np.array_equal(np.delete(view, 1, axis=0), np.delete(image, 1, axis=0))


def test_the_feather_fades_in_from_the_rim_but_not_at_the_edge_of_the_film() -> None:
    image = np.zeros((9, 20), dtype=np.uint8)
    image[:, 10:] = 100
    inside = np.zeros((9, 20), dtype=bool)
    inside[:, :6] = True
    view, _ = run("mirror", image, inside, feather_px=4)
    assert view[4, :7].tolist() == [100, 100, 100, 75, 50, 25, 0]


@given(seed=st.integers(0, 1000), feather=st.floats(0.5, 8))
@settings(max_examples=20, deadline=None)
def test_a_symmetric_film_stays_as_it_is(seed: int, feather: float) -> None:
    half = noise_image(seed, width=24)
    film = np.hstack([half, half[:, ::-1]])
    assert np.array_equal(run("mirror", film, disc(), feather_px=feather)[0], film)


@given(seed=st.integers(0, 1000), colour=st.booleans())
@settings(max_examples=20, deadline=None)
def test_what_is_painted_lies_between_both_sides_and_outside_nothing_moves(seed: int, colour: bool) -> None:
    image = noise_image(seed, colour=colour)
    view, parameters = run("mirror", image, disc())
    both = np.stack([image, image[:, ::-1]])
    assert (view >= both.min(0)).all()
    assert (view <= both.max(0)).all()
    assert np.array_equal(view[~disc()], image[~disc()])
    assert np.array_equal(reapply(image, parameters), view)


@pytest.mark.parametrize("column", [23, 24])
def test_a_finding_of_the_midline_is_refused(column: int) -> None:
    with pytest.raises(DataError, match=r"covers .* of itself"):
        run("mirror", noise_image(0), disc(centre=(14, column)))


def test_a_finding_on_both_sides_is_refused_unless_allowed() -> None:
    both = disc() | disc()[:, ::-1]
    with pytest.raises(DataError, match="100%"):
        run("mirror", noise_image(0), both)
    assert run("mirror", noise_image(0), both, overlap=1)[0].shape == (40, 48)


@pytest.mark.parametrize("finding", [EFFUSION, CONSOLIDATION])
def test_on_phantoms_it_comes_nearer_to_the_film_without_the_finding_than_inpainting(finding: str) -> None:
    """Against the drawn counterfactual, over all one-sided findings of a batch (mean absolute grey levels inside)."""

    cohort = draw_cohort(5, "batch", range(60), shortcut=0.0, studies_per_patient=1)
    films, without = draw(cohort, 96), draw(cohort.without((finding,)), 96)
    errors = {"mirror": [], "inpaint": []}
    for film, truth, labels in zip(films.images, without.images, films.masks[finding], strict=True):
        inside = labels > 0
        if not inside.any() or (inside & inside[:, ::-1]).any():
            continue
        for kind, error in errors.items():
            corruption = CORRUPTIONS.parse(kind, where="test")
            drawn = corruption.draw(film, [region_of(inside)], np.random.default_rng(0))
            view = corruption.apply(film, drawn)
            error.append(np.abs(view[inside].astype(float) - truth[inside]).mean())
    assert len(errors["mirror"]) >= 5
    assert np.mean(errors["mirror"]) < 0.8 * np.mean(errors["inpaint"])
