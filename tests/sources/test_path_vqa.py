import json
import pickle
from pathlib import Path

import pytest

from medpref.errors import DataError
from medpref.registry import SOURCES
from medpref.schema import Example
from medpref.sources.splits import leaks
from tests.sources.user_data import write_image, write_rows

ROWS = {
    "train": [
        {"image": "train_0001", "question": "Is the made-up tissue present?", "answer": "yes"},
        {"image": "train_0001", "question": "What is shown?", "answer": 4},
    ],
    "val": [{"image": "val_0001", "question": "Where is it?", "answer": "left"}],
    "test": [{"image": "test_0001", "question": "Where is it?", "answer": "right"}],
}


def miniature(folder: Path, *, suffix: str = ".jsonl", place: str = "qas/{0}/{0}_qa") -> Path:
    for seed, (split, rows) in enumerate(ROWS.items()):
        write_image(folder / "images" / split / f"{split}_0001.jpg", seed=seed % 2)
        file = folder / (place.format(split) + suffix)
        file.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".jsonl":
            write_rows(file, list(rows))
        elif suffix == ".json":
            file.write_text(json.dumps(rows))
        else:
            pandas = pytest.importorskip("pandas")
            pandas.DataFrame([{**row, "answer": str(row["answer"])} for row in rows]).to_parquet(file)
    return folder


def load(folder: Path) -> list[Example]:
    source = SOURCES.parse({"kind": "path_vqa", "folder": str(folder)}, where="test")
    return list(source.load(folder / "out", seed=0, prefix="examples"))


def test_records_by_hand(tmp_path: Path) -> None:
    first, second, third, fourth = load(miniature(tmp_path))
    assert (first.id, first.split, first.kind) == ("path-vqa-train-000001", "train", "presence")
    assert (first.answer_type, first.choices, first.tags["polarity"]) == ("closed", ("yes", "no"), "present")
    assert (second.id, second.answer, second.answer_type) == ("path-vqa-train-000002", "4", "open")
    assert (third.split, fourth.split) == ("validation", "test")
    assert first.patient == second.patient == f"image:{first.images[0].sha256[:16]}"


def test_the_same_figure_under_two_names_is_a_leak(tmp_path: Path) -> None:
    found = leaks(load(miniature(tmp_path)))
    assert {(leak.what, leak.splits) for leak in found} == {
        ("image", ("train", "test")),
        ("patient", ("train", "test")),
    }


@pytest.mark.parametrize(
    ("suffix", "place"),
    [(".json", "qas/{0}/{0}_qa"), (".parquet", "qas/{0}_qa"), (".jsonl", "qas/{0}"), (".json", "{0}")],
)
def test_every_safe_format_and_place_gives_the_same(tmp_path: Path, suffix: str, place: str) -> None:
    expected = [(example.id, example.answer) for example in load(miniature(tmp_path / "a"))]
    found = load(miniature(tmp_path / "b", suffix=suffix, place=place))
    assert [(example.id, example.answer) for example in found] == expected


def test_a_pickle_is_refused_and_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "opened",)

    folder = miniature(tmp_path)
    (folder / "qas" / "test" / "test_qa.jsonl").unlink()
    (folder / "qas" / "test" / "test_qa.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"test_qa\.pkl: a pickle, which could run any code; expected test_qa\.jsonl"):
        load(folder)
    assert not (tmp_path / "opened").exists()


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    folder = miniature(tmp_path)
    (folder / "images" / "test" / "test_0001.jpg").unlink()
    with pytest.raises(DataError, match=r"test_qa\.jsonl:1:image: no image 'test_0001' in .*test; expected a \.jpg"):
        load(folder)
    (folder / "qas" / "test" / "test_qa.jsonl").unlink()
    with pytest.raises(DataError, match=r"no questions of the split test; expected test_qa\.jsonl"):
        load(folder)
