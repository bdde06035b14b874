"""One sound pair, and the same pair with one fault planted at a time: each is dropped, with its reason.

Faults of rows on disk (spans beyond the text, changed images, torn rows) are planted in tests/sources/test_validate.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref import store
from medpref.curation.builder import parse_builder
from medpref.curation.finish import Screening
from medpref.curation.sound import fault, misplaced
from medpref.language.diff import spans
from medpref.schema import Example, PreferencePair, Reply, Span

from .studies import train_split
from .test_build import FIRE, MMEDPO, build

SCREENS = ["agrees", "contains_reference", "debris", "leaked", "length", "weight"]
OPEN, SIDE = 5, 2  # "What is abnormal?" and "On which side is the pleural effusion?"


def pair(example: Example, chosen: str, rejected: str, marks: tuple[Any, Any] | None = None, **fields: Any) -> Any:
    """A finished pair; spans are those of the difference unless given."""
    held = spans(chosen, rejected) if marks is None else marks
    replies = {
        name: Reply(text=text, spans=tuple(Span(start=a, end=b) for a, b in map(tuple, _ends(one))))
        for name, text, one in zip(("chosen", "rejected"), (chosen, rejected), held, strict=True)
    }
    named = {"id": "v/1", "example": example.id, "patient": example.patient, "question": example.question}
    told = {"builder": "v", "answer": example.answer}
    return PreferencePair(
        **{**named, "views": {"clean": example.images}, "replies": replies, "provenance": told, **fields}
    )


def _ends(marks: Any) -> list[tuple[int, int]]:
    return [(one.start, one.end) if isinstance(one, Span) else one for one in marks]


def verdict(one: PreferencePair, examples: list[Example], held_out: list[Example]) -> str | None:
    """The step and reason for which a curation drops the pair; None where it stays."""
    builder = parse_builder({**FIRE, "name": "v", "screens": SCREENS}, "test")
    kept, dropped = Screening({"v": builder}, examples, held_out).split("v", [one])
    assert len(kept) + len(dropped) == 1
    return f"{dropped[0]['step']}: {dropped[0]['reason']}" if dropped else None


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Example], list[Example]]:
    root = tmp_path_factory.mktemp("faults")
    return train_split(root, patients=2), train_split(root, patients=1, split="test", first=7)


def test_the_sound_pairs_stay(studies: Any) -> None:
    train, held = studies
    assert verdict(pair(train[OPEN], "Pleural effusion", "Atelectasis"), train, held) is None
    assert verdict(pair(train[SIDE], "On the left.", "On the right."), train, held) is None


FAULTS: dict[str, tuple[int, str, str, str]] = {
    "chosen that disagrees": (SIDE, "Right", "Both", "screen agrees: the chosen reply does not agree with the ref"),
    "rejected that agrees": (SIDE, "Left", "On the left", "screen agrees: the rejected reply is not wrong"),
    "both turned round": (SIDE, "Right", "Left", "screen agrees: the chosen reply does not agree"),
    "rejected contains the reference": (
        OPEN, "Pleural effusion", "Pleural effusion and nodule", "screen contains_reference: the rejected reply",
    ),
    "tag debris": (OPEN, "Pleural effusion", "<mask>Nodule</mask>", "screen debris: tag debris in the rejected reply"),
    "template tokens": (SIDE, "Left <|im_end|>", "Right", "screen debris: tag debris in the chosen reply"),
    "identical pair": (OPEN, "Pleural effusion", "Pleural effusion", "fault: chosen and rejected say the same"),
    "identical but for style": (OPEN, "Pleural effusion.", "the pleural  effusion", "fault: chosen and rejected say"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_texts_is_dropped(name: str, studies: Any) -> None:
    train, held = studies
    place, chosen, rejected, reason = FAULTS[name]
    said = verdict(pair(train[place], chosen, rejected), train, held)
    assert said is not None
    assert said.startswith(reason)


def test_label_from_another_image(studies: Any) -> None:
    train, held = studies
    other = train[OPEN + 9]
    assert other.images != train[OPEN].images
    sound = {"chosen": "Pleural effusion", "rejected": "Atelectasis"}
    seen = verdict(pair(train[OPEN], **sound, views={"clean": other.images}), train, held)
    assert seen == "fault: its image is not its example's"
    seen = verdict(pair(train[OPEN], **sound, patient=other.patient), train, held)
    assert seen == "fault: its patient is not its example's"
    # the other film's answer under this film's question
    right_sided = train[SIDE].model_copy(update={"answer": "Right"})
    assert verdict(pair(right_sided, "Left", "Both"), [right_sided], held) is not None


def test_leaked_test_patient_and_image(studies: Any) -> None:
    train, held = studies
    leaked = train[OPEN].model_copy(update={"patient": held[0].patient})
    assert verdict(pair(leaked, "Pleural effusion", "Atelectasis"), [leaked], held) == (
        "screen leaked: its patient is also in another split"
    )
    shown = train[OPEN].model_copy(update={"images": held[0].images})
    assert verdict(pair(shown, "Pleural effusion", "Atelectasis"), [shown], held) == (
        "screen leaked: its image is also in another split"
    )


CHOSEN, REJECTED = "Small left effusion, no nodule.", "Small right effusion, no nodule."


@pytest.mark.parametrize(
    ("marks", "reason"),
    [
        (([(6, 10)], [(6, 11)]), None),
        (([(0, 10)], [(0, 11)]), None),  # a phrase around the edit
        (([(0, 5)], [(0, 5)]), "the replies differ outside their spans"),
        (([(6, 10)], []), "the replies differ outside their spans"),
        (([(6, 10), (25, 30)], [(6, 11), (26, 31)]), "a span of the chosen reply marks no edit"),
        (([(6, 10)], [(6, 11), (26, 32)]), "the replies differ outside their spans"),
    ],
)
def test_spans_outside_the_edit(marks: Any, reason: str | None, studies: Any) -> None:
    train, _ = studies
    assert fault(pair(train[0], CHOSEN, REJECTED, marks), train[0]) == reason


def test_an_insertion_marks_one_side_and_its_neighbour_may_be_marked() -> None:
    texts = ("no effusion", "effusion")
    assert misplaced(texts, ((Span(start=0, end=2),), ())) is None
    assert misplaced(texts, ((Span(start=0, end=11),), (Span(start=0, end=8),))) is None
    assert misplaced(texts, ((), ())) == "the replies differ outside their spans"


TEXT = st.lists(st.sampled_from(["left", "right", "no", "effusion", "small", ",", "zone"]), min_size=1, max_size=7)


@settings(max_examples=100, deadline=None)
@given(TEXT, TEXT)
def test_the_spans_of_a_difference_are_never_misplaced(one: list[str], two: list[str]) -> None:
    texts = (" ".join(one), " ".join(two))
    assert misplaced(texts, spans(*texts)) is None
    if one != two:
        assert misplaced(texts, ((), ())) is not None


def test_planted_among_imported_pairs_each_fault_is_dropped_and_counted(tmp_path: Path) -> None:
    examples = train_split(tmp_path, patients=2)
    sound = pair(examples[OPEN], "Pleural effusion", "Atelectasis")
    planted: Mapping[str, PreferencePair] = {
        "sound": sound,
        "same": pair(examples[0], "Yes", "yes."),
        "image": pair(examples[SIDE], "Left", "Right", views={"clean": examples[-1].images}),
        "spans": pair(examples[1], "No, none.", "Yes, none.", ([(4, 8)], [(5, 9)])),
        "stranger": sound.model_copy(update={"example": "nobody"}),
    }
    given = [one.model_copy(update={"id": name}) for name, one in planted.items()]
    _, pairs, folder = build([MMEDPO[1]], tmp_path, examples=examples, imported=given)
    assert [one.id for one in pairs if one.provenance["builder"] in {"v", "imported"}] == ["sound"]
    dropped = store.read_json(folder / "card.json")["dropped"]
    assert {reason: count for reason, count in dropped.items() if reason.startswith("imported")} == {
        "imported: fault: chosen and rejected say the same": 1,
        "imported: fault: its image is not its example's": 1,
        "imported: fault: the replies differ outside their spans": 1,
        "imported: import: its example is not in the train split": 1,
    }


def test_what_the_builders_make_has_no_fault(tmp_path: Path) -> None:
    examples = {example.id: example for example in train_split(tmp_path)}
    _, pairs, _ = build([FIRE, *MMEDPO], tmp_path)
    assert pairs
    assert {fault(one, examples[one.example]) for one in pairs} == {None}
