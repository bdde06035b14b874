import logging
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.errors import DataError
from medpref.schema import Example, ImageRef
from medpref.sources.splits import assign_split, check_examples, leaks, splits


def example(id: str, split: str, *, patient: str = "", image: str = "") -> Example:
    sha256 = (image or id).encode().hex().ljust(64, "0")[:64]
    ref = ImageRef(path=f"{image or id}.png", sha256=sha256)
    return Example(id=id, patient=patient or id, images=(ref,), question="q", answer="a", split=split)


def test_shares_are_kept_on_many_patients_and_depend_on_name_and_seed_only() -> None:
    names = [f"p{number}" for number in range(20_000)]
    counts = Counter(assign_split(name, seed=3) for name in names)
    assert counts["test"] / 20_000 == pytest.approx(0.2, abs=0.01)
    assert counts["validation"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert [assign_split(name, seed=3) for name in reversed(names)] == [assign_split(name, seed=3) for name in names][
        ::-1
    ]
    assert any(assign_split(name, seed=3) != assign_split(name, seed=4) for name in names[:50])


@given(st.text(min_size=1), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_shares_of_nothing_and_all(patient: str, seed: int) -> None:
    assert assign_split(patient, seed=seed, validation=0, test=0) == "train"
    assert assign_split(patient, seed=seed, validation=0, test=1) == "test"


def test_leaks_by_patient_and_by_image() -> None:
    held = [
        example("a", "train", patient="p"),
        example("b", "test", patient="p"),
        example("c", "train", image="film"),
        example("d", "validation", image="film"),
        example("e", "train", patient="q"),
    ]
    found = leaks(held)
    assert [(leak.what, leak.splits, leak.examples) for leak in found] == [
        ("image", ("train", "validation"), ("c", "d")),
        ("patient", ("train", "test"), ("a", "b")),
    ]
    assert leaks(held[::2]) == []


def test_the_content_of_splits_json() -> None:
    held = [example("a", "train", patient="p"), example("b", "train", patient="p"), example("c", "test", patient="p")]
    content = splits(held)
    assert content["train"] == {"examples": 2, "images": 2, "patients": ["p"]}
    assert content["validation"] == {"examples": 0, "images": 0, "patients": []}
    assert content["leaks"] == {"patient": [{"name": "p", "splits": ["train", "test"]}], "image": []}


def test_a_source_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(DataError, match="here: no examples; expected at least one"):
        check_examples([], where="here")
    with pytest.raises(DataError, match="the example id 'a' 2 times; expected every id once; rename the later ones"):
        check_examples([example("a", "train"), example("a", "test")], where="here")
    with pytest.raises(DataError, match="examples of the split train only; expected train, and test or validation"):
        check_examples([example("a", "train")], where="here")
    with pytest.raises(DataError, match="examples of the splits test, validation only"):
        check_examples([example("a", "test"), example("b", "validation")], where="here")


def test_leaks_are_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    held = [example("a", "train", patient="p"), example("b", "test", patient="p")]
    with caplog.at_level(logging.WARNING):
        check_examples(held, where="source x")
    assert "source x: 1 patients are in more than one split; see splits.json" in caplog.text
    caplog.clear()
    check_examples([example("a", "train"), example("b", "test")], where="source x")
    assert caplog.text == ""
