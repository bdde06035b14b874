"""The source: examples with blobs on disk, patients apart, ids stable."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medpref.errors import RecipeError
from medpref.registry import SOURCES
from medpref.schema import Example
from medpref.sources.phantom import Phantom
from medpref.sources.phantom_cohort import LESIONS
from medpref.sources.phantom_questions import KINDS

SMALL = Phantom(studies=24, validation=4, test=24, size_px=96, questions=KINDS)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Example]]:
    root = tmp_path_factory.mktemp("run")
    return root, list(SMALL.load(root / "examples", seed=1, prefix="examples"))


def pixels(root: Path, example: Example, *, counterfactual: bool = False) -> np.ndarray:
    refs = example.counterfactual if counterfactual else example.images
    return np.asarray(Image.open(refs[-1].locate(root)), dtype=int)


def test_every_path_leads_to_a_film_of_the_right_size_and_hash(loaded: tuple[Path, list[Example]]) -> None:
    root, examples = loaded
    for ref in {ref for example in examples for ref in (*example.images, *example.counterfactual)}:
        assert hashlib.sha256(ref.locate(root).read_bytes()).hexdigest() == ref.sha256
        with Image.open(ref.locate(root)) as image:
            assert (image.size, image.mode) == ((96, 96), "L")


def test_ids_are_unique_and_patients_stay_in_one_split(loaded: tuple[Path, list[Example]]) -> None:
    _, examples = loaded
    assert len({example.id for example in examples}) == len(examples)
    splits: dict[str, set[str]] = {}
    for example in examples:
        splits.setdefault(example.patient, set()).add(example.split)
    assert set(map(len, splits.values())) == {1}
    assert len(splits) == (24 + 4 + 24) / 2
    assert set(Counter(e.split for e in examples)) == {"train", "validation", "test"}
    assert {example.kind for example in examples} == set(KINDS)
    some = next(e for e in examples if e.kind == "presence" and e.tags["finding"] == "pleural effusion")
    assert some.id.endswith("-presence-effusion")
    assert some.id.startswith(f"{some.split}-0000")


def test_the_same_seed_gives_the_same_examples(loaded: tuple[Path, list[Example]], tmp_path: Path) -> None:
    _, examples = loaded
    again = list(SMALL.load(tmp_path, seed=1, prefix="examples"))
    assert again == examples
    other = list(SMALL.load(tmp_path, seed=2, prefix="examples"))
    assert not {e.images[0].sha256 for e in examples} & {e.images[0].sha256 for e in other}


def test_the_size_of_a_split_does_not_change_its_first_studies(
    loaded: tuple[Path, list[Example]], tmp_path: Path
) -> None:
    _, examples = loaded
    fewer = SMALL.model_copy(update={"studies": 5, "validation": 0, "test": 0}).load(
        tmp_path, seed=1, prefix="examples"
    )
    held = {example.id: example for example in examples}
    assert all(held[example.id] == example for example in fewer)


def test_a_counterfactual_is_the_film_without_what_is_asked_about(loaded: tuple[Path, list[Example]]) -> None:
    root, examples = loaded
    seen = 0
    for example in examples:
        present = example.tags["polarity"] == "present" and example.split in SMALL.counterfactuals
        assert bool(example.counterfactual) == present == (example.counterfactual_answer is not None)
        if present and example.kind in ("presence", "side", "zone", "severity", "compare"):
            assert len(example.counterfactual) == len(example.images)
            difference = np.abs(pixels(root, example) - pixels(root, example, counterfactual=True))
            left, top, right, bottom = (
                min(r.box[0] for r in example.regions) - 5,
                min(r.box[1] for r in example.regions) - 5,
                max(r.box[2] for r in example.regions) + 5,
                max(r.box[3] for r in example.regions) + 5,
            )
            outside = difference.copy()
            outside[max(top, 0) : bottom, max(left, 0) : right] = 0
            assert difference.max() > 10
            assert outside.max() <= 4
            seen += 1
    assert seen > 50


def test_regions_and_facts_are_those_of_the_question(loaded: tuple[Path, list[Example]]) -> None:
    _, examples = loaded
    for example in examples:
        finding, present = example.tags["finding"], {fact.finding for fact in example.facts if fact.present}
        if example.kind == "compare":
            compared(example)
            continue
        labels = {region.label for region in example.regions}
        if example.kind == "report":
            assert labels == present
        elif finding == "any":
            assert labels == present & set(LESIONS)
        elif finding == "none":
            assert not labels
        else:
            assert labels == ({finding} if finding in present else set())
            absent = {fact.finding for fact in example.facts if not fact.present}
            assert absent == (set() if finding in present else {finding})
        assert {region.image for region in example.regions} <= {0}
        assert {fact.image for fact in example.facts} <= {None}


def compared(example: Example) -> None:
    """Either film has the finding's regions where a fact says it is there, and one fact that says whether it is."""
    finding = example.tags["finding"]
    for image in (0, 1):
        [said] = [fact for fact in example.facts if fact.finding == finding and fact.image == image]
        shown = [region for region in example.regions if region.image == image]
        assert bool(shown) == said.present
        assert {region.label for region in shown} <= {finding}
    assert (example.tags["polarity"] == "present") == any(
        fact.present for fact in example.facts if fact.finding == finding and fact.image == 1
    )


def test_train_is_biased_and_test_is_not(tmp_path: Path) -> None:
    source = Phantom(studies=160, validation=0, test=160, size_px=64, questions=("presence",))
    shares: dict[str, Counter[str]] = {"train": Counter(), "test": Counter()}
    for example in source.load(tmp_path, seed=0, prefix="examples"):
        shares[example.split][example.tags["shortcut"]] += 1
    train, test = shares["train"], shares["test"]
    assert train["aligned"] / (train["aligned"] + train["broken"]) > 0.88
    assert test["aligned"] / (test["aligned"] + test["broken"]) == pytest.approx(0.5, abs=0.12)
    assert train["none"] > 0


def test_the_source_is_registered_synthetic_and_names_bad_keys() -> None:
    assert SOURCES.parse({"kind": "phantom", "studies": 3}, where="test") == Phantom(studies=3)
    assert Phantom().synthetic
    with pytest.raises(RecipeError, match="question kinds among presence"):
        SOURCES.parse({"kind": "phantom", "questions": ["presense"]}, where="test")
    with pytest.raises(RecipeError, match="did you mean 'shortcut'"):
        SOURCES.parse({"kind": "phantom", "shortcuts": 1}, where="test")
