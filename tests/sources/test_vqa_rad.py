import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from medpref.errors import DataError
from medpref.registry import SOURCES
from medpref.schema import Example
from medpref.sources.splits import leaks
from medpref.sources.vqa_rad import FILE, IMAGES
from tests.sources.user_data import write_image


def record(qid: int, image: int, phrase: str = "freeform", **fields: Any) -> dict[str, Any]:
    return {
        "qid": qid,
        "phrase_type": phrase,
        "qid_linked_id": f"link-{qid}",
        "image_case_url": f"https://medpix.nlm.nih.gov/case?id=case-{image}",
        "image_name": f"synpic{image}.jpg",
        "image_organ": "CHEST",
        "evaluation": "not evaluated",
        "question": "Is there a made-up shadow?",
        "question_rephrase": "NULL",
        "question_type": "PRES",
        "answer": "No",
        "answer_type": "CLOSED",
        **fields,
    }


def miniature(folder: Path, records: Sequence[dict[str, Any]]) -> Path:
    for entry in records:
        write_image(folder / IMAGES / entry["image_name"], seed=crc32(entry["image_name"].encode()))
    (folder / FILE).write_text(json.dumps(list(records)))
    return folder


def load(folder: Path, seed: int = 0, **fields: Any) -> list[Example]:
    source = SOURCES.parse({"kind": "vqa_rad", "folder": str(folder), **fields}, where="test")
    return list(source.load(folder / "out", seed=seed, prefix="examples"))


MIXED = [
    record(1, 1),
    record(2, 1, "test_freeform", question_type="POS, ABN", answer_type="OPEN", answer=3),
    record(3, 1, "test_para", qid_linked_id="link-1", answer_type="CLOSED ", answer="Yes"),
    record(4, 2, "para", question_type="ATRIB", image_case_url=""),
    record(5, 3, "test_freeform", question_type="nothing known"),
]


def test_records_by_hand(tmp_path: Path) -> None:
    first, second, third, fourth, fifth = load(miniature(tmp_path, MIXED), validation=0)
    assert (first.id, first.patient, first.split, first.kind) == ("vqa-rad-1", "case-1", "train", "presence")
    assert (first.answer_type, first.choices) == ("closed", ("yes", "no"))
    assert first.tags == {"source": "vqa_rad", "organ": "CHEST", "polarity": "absent"}
    assert (second.answer, second.answer_type, second.kind, second.split) == ("3", "open", "position", "test")
    assert (third.answer_type, third.split) == ("closed", "test"), "the trailing blank of 'CLOSED ' is the authors'"
    assert (fourth.patient, fourth.kind, fifth.kind) == ("synpic2", "attribute", "other")


def test_test_questions_say_what_of_them_was_seen(tmp_path: Path) -> None:
    examples = {example.id: example for example in load(miniature(tmp_path, MIXED), validation=0)}
    told = {
        id: (example.tags.get("image_seen"), example.tags.get("paraphrase_seen")) for id, example in examples.items()
    }
    assert told == {
        "vqa-rad-1": (None, None),
        "vqa-rad-2": ("yes", "no"),
        "vqa-rad-3": ("yes", "yes"),
        "vqa-rad-4": (None, None),
        "vqa-rad-5": ("no", "no"),
    }


def test_the_official_split_leaks_and_the_others_do_not(tmp_path: Path) -> None:
    records = [record(n, n // 4, "test_freeform" if n % 4 == 0 and n < 80 else "freeform") for n in range(160)]
    folder = miniature(tmp_path, records)
    official = load(folder, validation=0)
    assert [example.split for example in official[:5]] == ["test", "train", "train", "train", "test"]
    assert {leak.what for leak in leaks(official)} == {"image", "patient"}
    assert sum(leak.what == "image" for leak in leaks(official)) == 20
    by_image = load(folder, split="by_image", validation=0)
    assert leaks(by_image) == []
    assert sum(example.split == "test" for example in by_image) == 80
    assert {example.tags["image_seen"] for example in by_image if example.split == "test"} == {"no"}
    by_patient = load(folder, split="by_patient")
    assert leaks(by_patient) == []
    assert {example.split for example in by_patient} == {"train", "validation", "test"}
    assert [e.split for e in by_patient] == [e.split for e in load(folder, split="by_patient")]
    assert [e.split for e in by_patient] != [e.split for e in load(folder, seed=1, split="by_patient")]


def test_validation_is_a_share_of_the_images_without_test_questions(tmp_path: Path) -> None:
    records = [record(n, n, "test_para" if n % 2 else "para") for n in range(80)]
    examples = load(miniature(tmp_path, records), validation=0.5)
    spared = [example for example in examples if example.split == "validation"]
    assert 8 < len(spared) < 32
    assert leaks(examples) == []
    assert all(example.split == "test" for example in examples[1::2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_name": "synpic7.jpg"}, r"Public\.json\[1\]\.image_name: .*synpic7\.jpg: no such file"),
        ({"answer": None}, r"Public\.json\[1\]: answer = None; expected Input should be a valid string"),
        ({"question": ""}, r"Public\.json\[1\]: question = ''"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = miniature(tmp_path, MIXED)
    records = [MIXED[0], {**MIXED[1], **change}]
    (folder / FILE).write_text(json.dumps(records))
    with pytest.raises(DataError, match=message):
        load(folder)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Public\.json: nothing there; expected VQA-RAD's questions"):
        load(tmp_path)
