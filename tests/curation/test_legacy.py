"""The released defects exist by name alone, each with a warning; the card of a set of pairs shows what each does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medpref import store
from medpref.grid import load_grid, shipped_grids
from medpref.imaging.legacy import warn_legacy
from medpref.recipe import load_recipe, shipped
from medpref.schema import Example, PreferencePair

from .studies import SIZE, train_split
from .test_build import MMEDPO, build

DEFECTS = ("wraparound_noise", "mean_minus_std_mask", "literal")
LESION = (slice(4, 10), slice(6, 13))


def maps(folder: Path, examples: list[Example]) -> Path:
    """A heat map for each example: a blob of 6 x 7 of 24 x 24 pixels on a faint ground."""
    folder.mkdir()
    heat = np.full((SIZE, SIZE), 0.05)
    heat[LESION] = 0.9
    for example in examples:
        np.save(folder / f"{example.id}.npy", heat)
    return folder


def card(root: Path, out: str, examples: list[Example], **changes: Any) -> tuple[dict[str, Any], list[PreferencePair]]:
    _, pairs, folder = build([{**MMEDPO[1], **changes}], root, out=out, examples=examples)
    return store.read_json(folder / "card.json"), pairs


def test_the_card_shows_a_mask_of_half_the_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples = train_split(tmp_path)
    heat = {"kind": "heatmap_regions", "folder": str(maps(tmp_path / "maps", examples))}
    proper, _ = card(tmp_path, "proper", examples, localize={**heat, "quantile": 0.92})
    warn_legacy.cache_clear()
    with caplog.at_level(logging.WARNING):
        released, pairs = card(tmp_path, "released", examples, localize={**heat, "threshold": "mean_minus_std_mask"})
    assert "mean_minus_std_mask repeats a released defect" in caplog.text
    share = 6 * 7 / SIZE**2
    assert proper["mask_share"]["mean"] == pytest.approx(share, abs=1e-6)
    assert released["mask_share"]["n"] == len(pairs) == len(examples)
    assert released["mask_share"]["min"] >= 0.5


def test_the_card_shows_noise_that_wraps_around(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """N(0, 10) added to grey levels of 40 to 200 changes them by 10 sqrt(2 / pi); put in their place it is speckle."""
    examples = train_split(tmp_path)
    warn_legacy.cache_clear()
    with caplog.at_level(logging.WARNING):
        released, _ = card(tmp_path, "released", examples, corrupt={"kind": "wraparound_noise", "sigma": 10})
    assert "wraparound_noise repeats a released defect" in caplog.text
    proper, _ = card(tmp_path, "proper", examples, corrupt={"kind": "gaussian_noise", "sigma": 10})
    assert proper["mask_share"] == released["mask_share"]
    assert 4 < proper["change_inside"]["mean"] < 12
    assert released["change_inside"]["min"] > 40
    assert proper["change_outside"]["max"] == released["change_outside"]["max"] == 0


def test_the_card_shows_weights_that_are_all_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples = train_split(tmp_path)
    text = {key: MMEDPO[0][key] for key in ("chosen", "rejected", "judge")} | {"localize": None, "corrupt": None}
    with caplog.at_level(logging.WARNING):
        released, pairs = card(tmp_path, "released", examples, **text, reweigh="literal")
    assert "100 % of the weights sit on one bound; moments is meant" in caplog.text
    assert {pair.weight for pair in pairs} == {0.75}
    assert (released["weights"]["min"], released["weights"]["max"], released["weights"]["std"]) == (0.75, 0.75, 0)
    counts = released["weights"]["histogram"]["counts"]
    assert sum(count > 0 for count in counts) == 1
    assert sum(counts) == len(pairs)
    proper, _ = card(tmp_path, "proper", examples, **text, reweigh="moments")
    assert sum(count > 0 for count in proper["weights"]["histogram"]["counts"]) > 1


def words(value: Any) -> Iterator[str]:
    """Every text of a nested value."""
    if isinstance(value, Mapping):
        for key, held in value.items():
            yield from (str(key), *words(held))
    elif isinstance(value, list | tuple):
        for held in value:
            yield from words(held)
    else:
        yield str(value)


def test_no_shipped_method_has_a_defect_but_those_named_as_released() -> None:
    recipes = {name: load_recipe(name) for name in shipped()}
    for grid in map(load_grid, shipped_grids()):
        recipes |= {f"{grid.name}/{method.name}": grid.recipe(method) for method in grid.methods}
    using = {name for name, recipe in recipes.items() if set(DEFECTS) & set(words(recipe.model_dump(mode="json")))}
    assert "mmedpo_as_released" in using
    assert {name for name in using if not name.endswith("_as_released")} == set()
