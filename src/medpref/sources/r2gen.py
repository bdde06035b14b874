"""Report data in the layout of R2Gen (Chen et al. 2020, arXiv:2010.16056): ``annotation.json`` beside an image folder.

The file holds ``{"train": [...], "val": [...], "test": [...]}`` of studies such as ``{"id": "CXR1_1_IM-0001",
"image_path": ["CXR1_1_IM-0001/0.png", "CXR1_1_IM-0001/1.png"], "report": "The lungs are clear.", "split": "train"}``;
MIMIC-CXR's studies also have ``subject_id`` and ``study_id``. Reports are kept as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from medpref import store
from medpref.arrow import split_of
from medpref.errors import DataError
from medpref.schema import Example, Split
from medpref.sources.record import Record, Text
from medpref.sources.shelf import Shelf

REPORT_QUESTION = "Write the findings of this chest X-ray."


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Study(Record):
    """What is read of a study: one report, one image or several."""

    id: Text = Field(min_length=1)
    image_path: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(min_length=1)
    report: str
    subject_id: Text = ""
    study_id: Text = ""


def read_studies(path: Path) -> Iterator[tuple[str, Split, Study]]:
    """``(where, split, study)`` of an annotation file, in its order; DataError names split, index and key."""
    content = store.read_json(path)
    if not isinstance(content, dict) or not all(isinstance(studies, list) for studies in content.values()):
        given, expected = f"a {type(content).__name__}", "{train: [...], val: [...], test: [...]}"
        raise DataError(str(path), given=given, expected=expected, todo="give R2Gen's annotation.json")
    for name, studies in content.items():
        split = split_of(name, where=f"{path}:{name}")
        for index, raw in enumerate(studies):
            where = f"{path}:{name}[{index}]"
            yield where, split, store.parse_row(Study, raw, where=where)


def report_example(
    study: Study, split: Split, *, where: str, images: Path, shelf: Shelf, views: int | None, **fields: Any
) -> Example:
    """The example that asks for a study's report; ``views`` limits its images, ``fields`` are further ones of it."""
    if not study.report.strip():
        todo = "remove the study: an empty report is no reference"
        raise DataError(f"{where}.report", given="an empty report", expected="its text", todo=todo)
    paths: Sequence[str] = study.image_path[:views]
    placed = [shelf.place(images / path, where=f"{where}.image_path") for path in paths]
    return Example(
        images=tuple(image.ref for image in placed),
        answer=study.report.strip(),
        split=split,
        kind="report",
        answer_type="report",
        **fields,
    )
