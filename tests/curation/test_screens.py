from pathlib import Path
from typing import Any

import pytest

from medpref.curation.screens import Around
from medpref.registry import SCREENS
from medpref.schema import Example, PreferencePair, Reply

from .studies import train_split


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return train_split(tmp_path, patients=1)[5]  # "What is abnormal?" "Pleural effusion"


def pair(example: Example, chosen: str, rejected: str | None, **fields: Any) -> PreferencePair:
    replies = {"chosen": Reply(text=chosen)} | ({"rejected": Reply(text=rejected)} if rejected else {})
    return PreferencePair(
        id="x", example=example.id, patient=example.patient, question=example.question,
        views={"clean": example.images}, replies=replies, provenance={"answer": example.answer}, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("screen", "chosen", "rejected", "reason"),
    [
        ("contains_reference", "Pleural effusion", "Left pleural effusion", "contains the reference"),
        ("contains_reference", "Pleural effusion", "Atelectasis", None),
        ("agrees", "Pleural effusion", "Atelectasis", None),
        ("agrees", "Atelectasis", "Nodule", "chosen reply does not agree"),
        ("agrees", "Pleural effusion", "effusion", "rejected reply is not wrong"),
        ("agrees", "An effusion", None, None),
        ("length", "Pleural effusion", "Atelectasis of both lower lobes with much else", "differ in length"),
        ("length", "Pleural effusion", "Atelectasis", None),
        ({"kind": "length", "max_words": 3}, "Pleural effusion on the left", None, "outside 1 to 3 words"),
        ("debris", "Pleural <mask>effusion</mask>", "Nodule", "tag debris in the chosen reply"),
        ("debris", "Pleural effusion", "Nodule</s>", "tag debris in the rejected reply"),
        ("debris", "Pleural effusion &amp; more", "Nodule", "tag debris"),
        ("debris", "Effusion < 2 cm", "Nodule > 1 cm", None),
        ("needs_view", "Pleural effusion", "Nodule", "no corrupt view"),
    ],
)  # fmt: skip
def test_screens(screen: Any, chosen: str, rejected: str | None, reason: str | None, example: Example) -> None:
    said = SCREENS.parse(screen, where="x").reject(pair(example, chosen, rejected), Around(example))
    assert (said is None) if reason is None else (said is not None and reason in said)


def test_leaks_by_patient_and_by_image(example: Example) -> None:
    one = pair(example, "a", "b")
    by_patient = Around(example, patients=frozenset({example.patient}))
    by_image = Around(example, images=frozenset({example.images[0].sha256}))
    leaked = {by: SCREENS.parse({"kind": "leaked", "by": by}, where="x") for by in ("patient", "image", "both")}
    assert "patient" in leaked["both"].reject(one, by_patient)
    assert "image" in leaked["both"].reject(one, by_image)
    assert leaked["patient"].reject(one, by_image) is None
    assert leaked["image"].reject(one, by_patient) is None
    assert leaked["both"].reject(one, Around(example)) is None


def test_a_pair_without_weight_trains_nothing(example: Example) -> None:
    screen = SCREENS.parse("weight", where="x")
    assert screen.reject(pair(example, "a", "b", weight=0.0), Around()) == "weight 0"
    assert screen.reject(pair(example, "a", "b", weight=0.1), Around()) is None


def test_without_its_example_nothing_can_be_checked(example: Example) -> None:
    assert SCREENS.parse("agrees", where="x").reject(pair(example, "a", "b"), Around()) is not None
