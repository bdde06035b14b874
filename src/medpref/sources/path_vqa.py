"""PathVQA (He et al. 2020, arXiv:2003.10286): questions about figures of pathology textbooks.

The authors' layout is ``images/{train,val,test}/NAME.jpg`` and ``qas/{train,val,test}/{train,val,test}_qa.pkl``. A
pickle runs code when it is opened, so none is read: the same records are taken from a ``.jsonl``, ``.json`` or
``.parquet`` file of the same name (or ``SPLIT.jsonl`` and so on, in ``qas/`` or at the top). The record ``{"image":
"train_0422", "question": "Is the epidermis intact?", "answer": "no"}`` of ``qas/train/train_qa.jsonl`` becomes
``Example(id="path-vqa-train-000001", patient="image:3f...", split="train", kind="other", answer_type="closed",
choices=("yes", "no"), tags={"source": "path_vqa"})``.

The figures have no patients: the clusters are images by content, because one figure was saved under several names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medpref import store
from medpref.arrow import parquet_rows, split_of
from medpref.errors import DataError
from medpref.registry import SOURCES
from medpref.schema import Example, Frozen
from medpref.sources.pack_vqa import kind_of
from medpref.sources.record import Record, Text, closing, polarity, read_records
from medpref.sources.shelf import Shelf, patient_of

SPLITS = ("train", "val", "test")
SUFFIXES = (".jsonl", ".json", ".parquet")
IMAGE_SUFFIXES = ("", ".jpg", ".jpeg", ".png")


class Question(Record):
    """What is read of a PathVQA record."""

    image: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: Text


@SOURCES.add
class PathVqa(Frozen):
    """The examples of a PathVQA folder, with the authors' split. The hub's copies are for the source ``hub``."""

    kind: Literal["path_vqa"] = "path_vqa"
    folder: str = Field(min_length=1)

    @property
    def synthetic(self) -> bool:
        """False: real images and questions (most were made from captions by rules)."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The examples by split, in the files' order; DataError for a pickle, or names the first bad record."""
        folder, shelf = Path(self.folder), Shelf(out, prefix=prefix)
        for name in SPLITS:
            for number, (where, record) in enumerate(_records(find_questions(folder, name)), start=1):
                path = _image(folder / "images" / name, record.image, where=where)
                placed = shelf.place(path, where=f"{where}:image")
                asked = {"question": record.question, "answer": record.answer, "answer_type": "CLOSED"}
                kind = kind_of({**asked, "category": None})
                yield Example(
                    id=f"path-vqa-{name}-{number:06d}",
                    patient=patient_of(placed),
                    images=(placed.ref,),
                    question=record.question.strip(),
                    answer=record.answer.strip(),
                    split=split_of(name, where=where),
                    kind=kind,
                    tags={"source": "path_vqa", **polarity(kind, record.answer)},
                    source="path_vqa",
                    **closing(record.question, record.answer),
                )


def find_questions(folder: Path, split: str) -> Path:
    """The file of a split's questions in a format that is safe to open; DataError where there is none, or a pickle."""
    places = [
        folder / place / name
        for place in (f"qas/{split}", "qas", ".")
        for name in (f"{split}_qa", f"{split}_vqa", split)
    ]
    for place in places:
        for suffix in SUFFIXES:
            file = place.with_name(place.name + suffix)
            if file.is_file():
                return file
    pickle = next((file for place in places if (file := place.with_name(place.name + ".pkl")).is_file()), None)
    expected = f"{split}_qa.jsonl (or .json, .parquet) beside it"
    if pickle is not None:
        todo = "convert it where nothing is lost if it runs code: pandas.read_pickle, then to_json(orient='records')"
        raise DataError(str(pickle), given="a pickle, which could run any code", expected=expected, todo=todo)
    todo = "check the folder, or use the source hub for a copy from the hub"
    raise DataError(str(folder), given=f"no questions of the split {split}", expected=expected, todo=todo)


def _records(file: Path) -> Iterator[tuple[str, Question]]:
    if file.suffix != ".parquet":
        yield from read_records(file, Question)
        return
    for number, row in enumerate(parquet_rows(file), start=1):
        if not isinstance(row.get("image"), str):
            given, todo = "images inside the parquet file", "use the source hub, which reads them"
            raise DataError(f"{file}:{number}:image", given=given, expected="names of image files", todo=todo)
        yield f"{file}:{number}", store.parse_row(Question, row, where=f"{file}:{number}")


def _image(folder: Path, name: str, *, where: str) -> Path:
    """The image of a name without its suffix."""
    tried: Any = [folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        given, expected = f"no image {name!r} in {folder}", "a .jpg, .jpeg or .png file"
        raise DataError(f"{where}:image", given=given, expected=expected, todo="unpack the images of this split")
    return Path(found)
