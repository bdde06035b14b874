import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medpref import store
from medpref.errors import DataError
from medpref.imaging.decode import encode_png, read_array
from medpref.registry import SOURCES
from medpref.schema import Example
from tests.sources.user_data import write_image

datasets = pytest.importorskip("datasets", reason="needs the extra datasets")


def png(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (12, 16), dtype=np.uint8))


def table(rows: list[dict[str, Any]], *, many: bool = False) -> Any:
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    image = datasets.List(datasets.Image()) if many else datasets.Image()
    held = datasets.Dataset.from_dict({key: cells for key, cells in columns.items() if key != "image"})
    return held.add_column("image", columns["image"], feature=image)


def row(seed: int, question: str = "Is there a mass?", answer: str = "no", **fields: Any) -> dict[str, Any]:
    return {"image": {"bytes": png(seed), "path": None}, "question": question, "answer": answer, **fields}


def saved(folder: Path, splits: dict[str, Any]) -> Path:
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return folder


def load(folder: Path, out: Path, **fields: Any) -> list[Example]:
    source = SOURCES.parse({"kind": "hub", "folder": str(folder), **fields}, where="test")
    return list(source.load(out, seed=0, prefix="examples"))


def test_a_dataset_saved_to_disk_by_hand(tmp_path: Path) -> None:
    splits = {"train": table([row(1), row(1, "Where is it?", "left")]), "test": table([row(2, answer="yes")])}
    first, second, third = load(saved(tmp_path / "rad", splits), tmp_path / "out")
    assert (first.id, first.split, first.kind) == ("train-000001", "train", "presence")
    assert (first.answer_type, first.choices, second.answer_type) == ("closed", ("yes", "no"), "open")
    assert (third.id, third.split, third.tags) == ("test-000001", "test", {"source": "rad", "polarity": "present"})
    assert first.patient == second.patient != third.patient
    path = tmp_path / "out" / first.images[0].path.removeprefix("examples/")
    assert path.read_bytes() == png(1), "a PNG is kept byte for byte"
    assert first.images[0].sha256 == store.digest(png(1))


@pytest.mark.parametrize(
    "layout", ["train-00000-of-00002.parquet", "data/train-0.parquet", "default/train/0000.parquet"]
)
def test_parquet_files_are_read_by_the_split_they_are_named_for(tmp_path: Path, layout: str) -> None:
    (tmp_path / "d" / layout).parent.mkdir(parents=True, exist_ok=True)
    table([row(1)]).to_parquet(str(tmp_path / "d" / layout))
    other = (
        tmp_path / "d" / layout.replace("00000-", "00001-").replace("train-0.", "train-1.").replace("0000.", "0001.")
    )
    table([row(2)]).to_parquet(str(other))
    held = tmp_path / "d" / layout.replace("train", "val")
    held.parent.mkdir(parents=True, exist_ok=True)
    table([row(3)]).to_parquet(str(held))
    examples = load(tmp_path / "d", tmp_path / "out")
    assert sorted((example.id, example.split) for example in examples) == [
        ("train-000001", "train"),
        ("train-000002", "train"),
        ("val-000001", "validation"),
    ]


def test_other_columns_several_images_and_chosen_rows(tmp_path: Path) -> None:
    rows = [
        {
            "image": [{"bytes": png(n), "path": None}, {"bytes": png(n + 50), "path": None}],
            "q": "<image>\nWhat is it?",
            "a": "CT",
            "type": "Modality",
            "said": "OPEN",
            "subject": n,
            "lang": "zh" if n == 2 else "en",
            "key": f"k{n}",
        }
        for n in range(40)
    ]
    folder = saved(tmp_path / "d", {"all": table(rows, many=True)})
    fields: dict[str, Any] = {
        "question": "q", "answer": "a", "question_kind": "type", "answer_type": "said", "patient": "subject",
        "id": "key", "where": {"lang": "en"}, "split": "by_patient", "credentialed": True,
    }  # fmt: skip
    examples = load(folder, tmp_path / "out", **fields)
    assert len(examples) == 39
    assert (examples[0].id, examples[0].patient, examples[0].kind) == ("k0", "0", "modality")
    assert (examples[0].question, len(examples[0].images), examples[0].credentialed) == ("What is it?", 2, True)
    assert {example.split for example in examples} == {"train", "validation", "test"}
    with pytest.raises(DataError, match="splits all; expected usual names; name them in splits"):
        load(folder, tmp_path / "out", **{**fields, "split": "given"})
    given = load(folder, tmp_path / "out", **{**fields, "split": "given", "splits": {"test": "all"}})
    assert {example.split for example in given} == {"test"}


def test_what_is_not_a_plain_png_or_jpeg_is_decoded_once(tmp_path: Path) -> None:
    deep, bitmap, jpeg = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint16).reshape(12, 16) * 300).save(deep, format="PNG")
    Image.fromarray(np.full((4, 4), 9, dtype=np.uint8)).save(bitmap, format="BMP")
    Image.fromarray(np.full((8, 8, 3), 99, dtype=np.uint8)).save(jpeg, format="JPEG")
    rows = [{**row(0), "image": {"bytes": image.getvalue(), "path": None}} for image in (deep, bitmap, jpeg)]
    examples = load(saved(tmp_path / "d", {"train": table(rows)}), tmp_path / "out")
    paths = [tmp_path / "out" / example.images[0].path.removeprefix("examples/") for example in examples]
    assert [path.suffix for path in paths] == [".png", ".png", ".jpg"]
    assert read_array(paths[0]).max() == 255
    assert paths[2].read_bytes() == jpeg.getvalue()
    assert sorted(path.name for path in (tmp_path / "out" / "blobs").iterdir()) == sorted(p.name for p in paths)


def test_a_column_of_file_names(tmp_path: Path) -> None:
    write_image(tmp_path / "img" / "a.png", seed=1)
    rows = datasets.Dataset.from_dict({"file": ["a.png"], "question": ["Is it?"], "answer": ["yes"]})
    rows.save_to_disk(str(tmp_path / "d"))
    (only,) = load(tmp_path / "d", tmp_path / "out", image="file", files=str(tmp_path / "img"))
    assert (only.split, Path(only.images[0].path).name) == ("train", "a.png")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"question": "qestion"}, r"train\[1\]: no column 'qestion'; expected a column; did you mean 'question'"),
        ({"image": "answer"}, r"train\[1\]:answer: no: no such file"),
        ({"answer": "image"}, r"train\[1\]:image: a dict; expected text"),
        ({"splits": {"train": "trian"}}, r"no split 'trian'; .*did you mean 'train'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    folder = saved(tmp_path / "d", {"train": table([row(1)])})
    with pytest.raises(DataError, match=message):
        load(folder, tmp_path / "out", **fields)


def test_a_bad_image_an_empty_cell_and_no_table(tmp_path: Path) -> None:
    rows = [{**row(1), "image": {"bytes": b"\x89PNG\r\n\x1a\nno", "path": None}}]
    with pytest.raises(DataError, match=r"train\[1\]:image: .*unreadable image"):
        load(saved(tmp_path / "a", {"train": table(rows)}), tmp_path / "out")
    with pytest.raises(DataError, match=r"train\[1\]:answer: nothing; expected a value"):
        load(saved(tmp_path / "b", {"train": table([row(1, answer="")])}), tmp_path / "out")
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match="neither; expected a dataset saved to disk, or parquet files"):
        load(tmp_path / "c", tmp_path / "out")
    (tmp_path / "c" / "train.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"train\.parquet: unreadable \(ArrowInvalid"):
        load(tmp_path / "c", tmp_path / "out")
    with pytest.raises(DataError, match="no such folder; expected a saved dataset or owner/name"):
        load(tmp_path / "none" / "there", tmp_path / "out")


def test_without_a_network_the_hub_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(DataError, match=r"owner/name: the hub does not give it \(ConnectionError: offline\)"):
        load(Path("owner/name"), tmp_path / "out")


def test_without_the_library_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "d", {"train": table([row(1)])})
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'medpref\[datasets\]'"):
        load(folder, tmp_path / "out")
