"""Data sets of the Hugging Face hub, or saved from it: any table with an image, a question and an answer column.

Needs the extra ``datasets``. ``folder`` is what ``save_to_disk`` wrote, parquet files (both without a network), or
``owner/name`` on the hub. The row ``{"image": {"bytes": b"..."}, "question": "Is there a mass?", "answer": "no"}`` of
the split ``test`` becomes ``Example(id="test-000001", patient="image:3f...", split="test", kind="presence",
answer_type="closed", choices=("yes", "no"), tags={"source": "vqa-rad"})``.

``image`` (or ``images``) may be one image or several, as bytes, or as names of files relative to ``files``. A table has
no patients unless a column names them: then one image content is one patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medpref.arrow import SPLIT_NAMES, open_tables, split_of
from medpref.errors import DataError, nearest
from medpref.registry import SOURCES
from medpref.schema import Example, Frozen, Split
from medpref.sources.jsonl import bare
from medpref.sources.pack_vqa import kind_of
from medpref.sources.place import Placed
from medpref.sources.record import closing, polarity
from medpref.sources.shelf import Shelf, patient_of
from medpref.sources.splits import assign_split

Row = Mapping[str, Any]


@SOURCES.add
class Hub(Frozen):
    """The examples of a data set on the hub; columns are named by our word for them.

    ``splits`` says which of its splits are read, ours on the left (``{"test": "testmini"}``); without it every split
    with a usual name is. ``split: by_patient`` draws splits from the run's seed instead (70/10/20), for example where
    there is only one. ``name`` is the configuration and ``revision`` the commit on the hub: pin it.
    """

    kind: Literal["hub"] = "hub"
    folder: str = Field(min_length=1)
    name: str | None = None
    revision: str | None = None
    image: str = "image"
    question: str = "question"
    answer: str = "answer"
    question_kind: str | None = Field(default=None, description="the column of the question type")
    answer_type: str | None = Field(default=None, description="the column that says OPEN or CLOSED")
    patient: str | None = None
    id: str | None = None
    where: Mapping[str, str] = Field(default_factory=dict, description="keep only rows with these texts")
    splits: Mapping[Split, str] = Field(default_factory=dict)
    split: Literal["given", "by_patient"] = "given"
    files: str = Field(default="", description="the folder of image files, where a column names them")
    credentialed: bool = False

    @property
    def synthetic(self) -> bool:
        """False: whose data these are is the user's knowledge."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The examples by split, in the table's order; DataError names split, row and column of the first bad one."""
        tables = open_tables(self.folder, revision=self.revision, name=self.name)
        shelf = Shelf(out, prefix=prefix)
        for ours, theirs in self._read(list(tables)):
            for number, row in enumerate(tables[theirs](), start=1):
                where = f"{self.folder}:{theirs}[{number}]"
                if all(str(row.get(column)) == text for column, text in self.where.items()):
                    yield self._example(row, shelf, where=where, id=f"{theirs}-{number:06d}", split=ours, seed=seed)

    def _read(self, names: Sequence[str]) -> list[tuple[Split | None, str]]:
        """The splits to read, (ours, theirs); ours is None where the source assigns it."""
        for theirs in self.splits.values():
            if theirs not in names:
                given = f"no split {theirs!r}"
                raise DataError(self.folder, given=given, expected="one of its splits", todo=nearest(theirs, names))
        if self.splits:
            return [(None if self.split == "by_patient" else ours, theirs) for ours, theirs in self.splits.items()]
        if self.split == "by_patient":
            return [(None, theirs) for theirs in names]
        usual = [(split_of(theirs, where=self.folder), theirs) for theirs in names if theirs.casefold() in SPLIT_NAMES]
        if not usual:
            todo = "name them in splits, for example splits.train=all, or set split=by_patient"
            raise DataError(self.folder, given=f"splits {', '.join(names)}", expected="usual names", todo=todo)
        return [(ours, theirs) for ours, theirs in usual]

    def _example(self, row: Row, shelf: Shelf, *, where: str, id: str, split: Split | None, seed: int) -> Example:
        placed = [self._place(image, shelf, where=where) for image in _listed(_cell(row, self.image, where=where))]
        question, answer = bare(_text(row, self.question, where=where)), _text(row, self.answer, where=where).strip()
        patient = _text(row, self.patient, where=where) if self.patient else patient_of(placed[0])
        said = _text(row, self.answer_type, where=where) if self.answer_type else None
        asked = {"question": question, "answer": answer, "answer_type": said or "CLOSED", "category": None}
        kind = _text(row, self.question_kind, where=where).casefold() if self.question_kind else kind_of(asked)
        return Example(
            id=_text(row, self.id, where=where) if self.id else id,
            patient=patient,
            images=tuple(image.ref for image in placed),
            question=question,
            answer=answer,
            split=split or assign_split(patient, seed=seed),
            kind=kind,
            tags={"source": self.folder.rstrip("/").rsplit("/", 1)[-1], **polarity(kind, answer)},
            source=self.kind,
            credentialed=self.credentialed,
            **closing(question, answer, said=said),
        )

    def _place(self, image: Any, shelf: Shelf, *, where: str) -> Placed:
        at = f"{where}:{self.image}"
        held = image if isinstance(image, Mapping) else {"path": image}
        if held.get("bytes"):
            return shelf.place_bytes(held["bytes"], where=at)
        if not isinstance(held.get("path"), str):
            todo = "name the image column (image=...), or correct the row"
            raise DataError(at, given=f"{type(image).__name__}", expected="an image or the name of one", todo=todo)
        return shelf.place(Path(self.files) / held["path"], where=at)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _cell(row: Row, column: str, *, where: str) -> Any:
    if column not in row:
        raise DataError(where, given=f"no column {column!r}", expected="a column", todo=nearest(column, row))
    if row[column] is None or row[column] in ("", []):
        raise DataError(f"{where}:{column}", given="nothing", expected="a value", todo="correct or remove the row")
    return row[column]


def _text(row: Row, column: str, *, where: str) -> str:
    value = _cell(row, column, where=where)
    if isinstance(value, str | int | float):
        return str(value)
    given, todo = f"a {type(value).__name__}", "name another column"
    raise DataError(f"{where}:{column}", given=given, expected="text", todo=todo)
