"""IU X-ray and MIMIC-CXR: made-up reports only."""

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from medpref.errors import DataError, RecipeError
from medpref.registry import SOURCES
from medpref.schema import Example
from medpref.sources.r2gen import REPORT_QUESTION
from medpref.sources.splits import leaks
from tests.sources.user_data import write_image


def study(id: str, split: str, views: int = 2, **fields: Any) -> dict[str, Any]:
    paths = [f"{id}/{view}.png" for view in range(views)]
    return {"id": id, "image_path": paths, "report": f" Made-up text about {id}. ", "split": split, **fields}


def miniature(folder: Path, studies: list[dict[str, Any]], images: str = "images") -> Path:
    content: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for entry in studies:
        content[entry["split"]].append(entry)
        for path in entry["image_path"]:
            write_image(folder / images / path, seed=crc32(path.encode()))
    (folder / "annotation.json").write_text(json.dumps(content))
    return folder


def load(kind: str, folder: Path, **fields: Any) -> list[Example]:
    source = SOURCES.parse({"kind": kind, "folder": str(folder), **fields}, where="test")
    return list(source.load(folder / "out", seed=0, prefix="examples"))


STUDIES = [study("CXR1_1_IM-0001", "train"), study("CXR2_IM-0002", "val", views=1), study("CXR3_IM-0003", "test")]


def test_iu_studies_by_hand(tmp_path: Path) -> None:
    first, second, third = load("iu_xray", miniature(tmp_path, STUDIES))
    assert (first.id, first.patient, first.split) == ("CXR1_1_IM-0001", "CXR1", "train")
    assert (first.question, first.answer) == (REPORT_QUESTION, "Made-up text about CXR1_1_IM-0001.")
    assert (first.kind, first.answer_type, first.credentialed) == ("report", "report", False)
    assert [Path(image.path).name for image in first.images] == ["0.png", "1.png"]
    assert (second.split, third.split) == ("validation", "test")
    assert (first.tags, second.tags) == ({"source": "iu_xray", "views": "2"}, {"source": "iu_xray", "views": "1"})


def test_the_first_view_alone_and_another_question(tmp_path: Path) -> None:
    first = load("iu_xray", miniature(tmp_path, STUDIES), views="first", question="Report this.")[0]
    assert ([Path(image.path).name for image in first.images], first.question) == (["0.png"], "Report this.")
    assert first.tags["views"] == "1"


def test_mimic_studies_are_credentialed_and_know_their_patient(tmp_path: Path) -> None:
    studies = [
        study("aa", "train", subject_id=11, study_id=5, image_path="p11/s5/aa.jpg"),
        study("bb", "test", subject_id=11, study_id=6, image_path=["p11/s6/bb.jpg"]),
    ]
    for entry in studies:
        entry["image_path"] = [entry["image_path"]] if isinstance(entry["image_path"], str) else entry["image_path"]
    folder = miniature(tmp_path, studies, images="files")
    examples = load("mimic_cxr", folder, images="files")
    assert [(example.id, example.patient, example.split) for example in examples] == [
        ("aa", "11", "train"),
        ("bb", "11", "test"),
    ]
    assert all(example.credentialed and example.source == "mimic_cxr" for example in examples)
    assert [(leak.what, leak.name) for leak in leaks(examples)] == [("patient", "11")]


def test_a_share_of_mimic_keeps_whole_patients(tmp_path: Path) -> None:
    studies = [study(f"s{n}", "train", views=1, subject_id=n // 2) for n in range(80)]
    folder = miniature(tmp_path, studies)
    kept = load("mimic_cxr", folder, share=0.3)
    assert 4 < len({example.patient for example in kept}) < 20
    assert all(sum(one.patient == example.patient for one in kept) == 2 for example in kept)
    larger = load("mimic_cxr", folder, share=0.6)
    assert {example.id for example in kept} < {example.id for example in larger} < {entry["id"] for entry in studies}


def test_a_csv_of_mimic_by_its_own_column_names(tmp_path: Path) -> None:
    for name in ("a0.png", "a1.png", "b0.png"):
        write_image(tmp_path / "images" / "p1" / name, seed=ord(name[0]))
    (tmp_path / "studies.csv").write_text(
        "path,findings,subject_id,split\n"
        'p1/a0.png|p1/a1.png,"Made up, in two views.",1,train\n'
        "p1/b0.png,Made up.,2,validate\n"
    )
    columns = {"image": "path", "report": "findings"}
    first, second = load("mimic_cxr", tmp_path, annotation="studies.csv", columns=columns)
    assert (first.id, first.patient, first.answer, len(first.images)) == ("a0", "1", "Made up, in two views.", 2)
    assert (second.id, second.split, second.credentialed) == ("b0", "validation", True)
    with pytest.raises(DataError, match=r"studies\.csv:1: no column 'image_path'; expected the image of a study"):
        load("mimic_cxr", tmp_path, annotation="studies.csv")
    with pytest.raises(RecipeError, match="'reprot' is no column of ours; did you mean 'report'"):
        load("mimic_cxr", tmp_path, columns={"reprot": "x"})


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("iu_xray", {"report": " "}, r"annotation\.json:train\[0\]\.report: an empty report"),
        ("iu_xray", {"image_path": []}, r"annotation\.json:train\[0\]: image_path = \[\]"),
        ("iu_xray", {"image_path": ["none.png"]}, r"train\[0\]\.image_path: .*none\.png: no such file"),
        ("mimic_cxr", {}, r"train\[0\]:subject_id: no patient; expected the subject's id"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, kind: str, change: dict[str, Any], message: str) -> None:
    folder = miniature(tmp_path, [study("CXR1", "train")])
    (folder / "annotation.json").write_text(json.dumps({"train": [{**study("CXR1", "train"), **change}]}))
    with pytest.raises(DataError, match=message):
        load(kind, folder)


def test_an_annotation_of_another_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"annotation\.json: nothing there; expected R2Gen's annotation"):
        load("iu_xray", tmp_path)
    (tmp_path / "annotation.json").write_text("[]")
    with pytest.raises(DataError, match=r"annotation\.json: a list; expected \{train: \[\.\.\.\]"):
        load("iu_xray", tmp_path)
    (tmp_path / "annotation.json").write_text('{"trian": []}')
    with pytest.raises(DataError, match=r"annotation\.json:trian: split 'trian'; .*did you mean 'train'"):
        load("iu_xray", tmp_path)
