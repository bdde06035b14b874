import json
from pathlib import Path

import pytest

from medpref import store
from medpref.errors import DataError
from medpref.schema import Example, ImageRef, PreferencePair, Reply
from medpref.sources.problem import counts
from medpref.sources.validate import validate
from tests.sources.user_data import folder_of_images, row, write_image, write_rows


def test_a_sound_file_has_no_problem(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 3)
    rows = [row(1, "train", id=1), row(2, "validation", id=2), row(3, "test", id=3, question="<image>Is it?")]
    assert validate(write_rows(tmp_path / "d.jsonl", rows)) == []


def test_every_planted_fault_is_found_in_one_pass(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 4)
    (tmp_path / "images" / "torn.png").write_bytes((tmp_path / "images" / "p1.png").read_bytes()[:60])
    (tmp_path / "images" / "copy.png").write_bytes((tmp_path / "images" / "p1.png").read_bytes())
    rows = [
        row(1, "train", id="a"),
        row(2, "train", id="a"),
        row(3, "train", image="images/none.png"),
        row(3, "train", image="images/torn.png"),
        row(3, "train", question=" ", answer=""),
        row(3, "train", question="<image><image> compare"),
        row(3, "train", patinet="p3", kidn="view"),
        row(1, "validation", image="images/p4.png"),
        row(4, "validation", image="images/copy.png"),
        '{"image": "images/p3.png", "question": "q", "answer": "a", "split": "train", '
        '"regions": [{"box": [0, 0, 2, 2], "confidence": NaN}]}',
        "{torn",
        {key: value for key, value in row(3, "train").items() if key != "split"},
        row(3, "train", regions=[{"box": [0, 0, 99, 2]}, {"mask": "images/p1.png"}]),
    ]
    file = write_rows(tmp_path / "d.jsonl", rows)
    found = validate(file)
    lines = [str(problem).replace(f"{tmp_path}/", "") for problem in found]
    expected = [
        "d.jsonl:2:id: id 'a', as in row 1; expected every id once; rename one of them",
        "d.jsonl:3:image: images/none.png: no such file; expected an image; check the path",
        "d.jsonl:4:image: images/torn.png: unreadable image (OSError: ",
        "d.jsonl:5:question: question = ' '; expected text that is not empty; correct 'question' in this row",
        "d.jsonl:5:answer: answer = ''; expected text that is not empty; correct 'answer' in this row",
        "d.jsonl:6:question: 2 <image> in the question, 1 image; expected none, or one for each image",
        "d.jsonl:7:patinet: unknown key 'patinet'; expected a known key; did you mean 'patient'?",
        "d.jsonl:7:kidn: unknown key 'kidn'; expected a known key; did you mean 'kind'",
        "d.jsonl:8:split: patient 'p1' in validation, and in train (row 1); expected each patient in one split",
        "d.jsonl:9:split: image '",
        "d.jsonl:10:regions.0.confidence: regions.0.confidence = nan; expected a finite number",
        "d.jsonl:11: ",
        "d.jsonl:13:regions.0: box: [0, 0, 99, 2]; expected a box inside the image's 16 x 12 pixels",
        "d.jsonl:12:split: no 'split'; expected one of",
        "d.jsonl:split: splits train, validation; expected rows of the split test; hold some patients out as test",
    ]
    assert len(lines) == len(expected), "\n".join(lines)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start), f"{line!r} is not {start!r}"
        assert "\n" not in line
    assert counts(found) == {
        "unknown key": 2,
        "duplicate id": 1,
        "missing file": 1,
        "unreadable image": 1,
        "empty question": 1,
        "empty answer": 1,
        "placeholder count": 1,
        "leaked patient": 1,
        "leaked image": 1,
        "number not finite": 1,
        "not JSON": 1,
        "region": 1,
        "missing split": 1,
        "no test split": 1,
    }


def test_rows_without_any_split_are_for_splitting_by_patient(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 2)
    rows = [{key: value for key, value in row(n, "train").items() if key != "split"} for n in (1, 2)]
    assert validate(write_rows(tmp_path / "d.jsonl", rows)) == []


def test_nothing_to_validate(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; expected a file of rows, or a folder"):
        validate(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="no such file"):
        validate(tmp_path)
    (tmp_path / "d.jsonl").write_text("\n")
    assert [problem.name for problem in validate(tmp_path)] == ["empty file"]


def run_folder(root: Path) -> Path:
    """A run folder with two examples and two sound pairs."""
    path = write_image(root / "examples" / "blobs" / "a.png", seed=1)
    ref = ImageRef(path="examples/blobs/a.png", sha256=store.file_digest(path))
    other = write_image(root / "examples" / "blobs" / "b.png", seed=2)
    refs = (ref, ImageRef(path="examples/blobs/b.png", sha256=store.file_digest(other)))
    examples = [
        Example(id=f"e{n}", patient=f"p{n}", images=(refs[n],), question="q", answer="a", split=split)
        for n, split in enumerate(("train", "test"))
    ]
    pairs = [
        PreferencePair(
            id=f"r{n}",
            example="e0",
            patient="p0",
            question="q",
            views={"clean": (ref,), "corrupt": (refs[1],)},
            replies={"chosen": Reply(text="no"), "rejected": Reply(text="yes")},
        )
        for n in range(2)
    ]
    store.write_lines(root / "examples" / "examples.jsonl", examples)
    (root / "pairs" / "dpo").mkdir(parents=True)
    store.write_lines(root / "pairs" / "dpo" / "pairs.jsonl", pairs)
    return root


def test_a_run_folder_is_validated_whole(tmp_path: Path) -> None:
    root = run_folder(tmp_path / "run")
    assert validate(root) == []
    assert validate(root / "pairs" / "dpo" / "pairs.jsonl") == []
    (root / "examples" / "blobs" / "a.png").unlink()
    write_image(root / "examples" / "blobs" / "b.png", seed=9)
    lines = [f"{problem.name} at {problem.where.removeprefix(str(root) + '/')}" for problem in validate(root)]
    assert lines == [
        "missing file at examples/examples.jsonl:1:images",
        "changed image at examples/examples.jsonl:2:images",
        "missing file at pairs/dpo/pairs.jsonl:1:views.clean",
        "changed image at pairs/dpo/pairs.jsonl:1:views.corrupt",
        "missing file at pairs/dpo/pairs.jsonl:2:views.clean",
        "changed image at pairs/dpo/pairs.jsonl:2:views.corrupt",
    ]


def test_faults_of_pairs(tmp_path: Path) -> None:
    root = run_folder(tmp_path / "run")
    file = root / "pairs" / "dpo" / "pairs.jsonl"
    sound = json.loads(file.read_text().splitlines()[0])
    clean_only = {"clean": sound["views"]["clean"]}
    rows = [
        {**sound, "weight": float("nan")},
        {**sound, "weight": -1},
        {**sound, "id": "x", "question": " "},
        {**sound, "id": "x", "question": "<image><image>?"},
        {**sound, "id": "y", "views": clean_only, "replies": {"chosen": {"text": "no"}, "rejected": {"text": "no "}}},
        {**sound, "id": "z", "replies": {"rejected": {"text": "no"}}},
        {**sound, "id": "w", "replies": {"chosen": {"text": "no", "spans": [{"start": 0, "end": 9}]}}},
        {**sound, "id": "v", "wieght": 2},
    ]
    lines = [str(problem).removeprefix(f"{file}:") for problem in validate(write_rows(file, rows))]
    expected = [
        "1:weight: weight = nan; expected a finite number; correct or remove the row",
        "2:weight: weight = -1; expected Input should be greater than or equal to 0",
        "3:question: question = ''; expected a question",
        "4:question: 2 <image> in the question, 1 image; expected none, or one for each image",
        "4:id: id 'x', as in row 3; expected every id once",
        "5:replies: chosen and rejected are the same text; expected two replies that differ",
        "6:(row): ",
        "7:replies.chosen: ",
        "8:wieght: unknown key 'wieght'; expected a known key; did you mean 'weight'",
    ]
    assert len(lines) == len(expected), "\n".join(lines)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start), f"{line!r} is not {start!r}"
    assert "a pair needs the view 'clean' and the reply 'chosen'" in lines[6]
    assert "a span ends after the text's 2 characters" in lines[7]


def test_the_pack_is_sound_and_a_changed_file_in_it_is_named(pack_folder: Path, tmp_path: Path) -> None:
    assert validate(pack_folder) == []
    (tmp_path / "images").mkdir()
    with open(pack_folder / "manifest.jsonl", encoding="utf-8") as file:
        record = json.loads(file.readline())
    write_image(tmp_path / "images" / "x.png", seed=0)
    write_rows(tmp_path / "manifest.jsonl", [{**record, "file": "images/x.png"}])
    (problem,) = validate(tmp_path)
    assert problem.where == f"{tmp_path}/manifest.jsonl:1:file"
    assert problem.given.startswith("images/x.png with content ")
    assert problem.todo == "restore the file (sha256sum -c SHA256SUMS)"
