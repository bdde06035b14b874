"""MIMIC-CXR (Johnson et al. 2019, doi:10.1038/s41597-019-0322-0) from the user's own folder; credentialed.

Its text and images may be used only by those who signed PhysioNet's agreement: every example is ``credentialed``, so
that no judge outside the user's control is shown it. Two layouts: R2Gen's ``annotation.json``, or a CSV. The study
``{"id": "0a1b", "study_id": 5, "subject_id": 1, "report": "Made-up text.", "image_path": ["p1/s5/0a1b.jpg"], "split":
"train"}`` becomes ``Example(id="0a1b", patient="1", split="train", kind="report", answer_type="report",
credentialed=True, tags={"source": "mimic_cxr", "views": "1"})``. A CSV has a line an image or a study (several paths
parted by ``|``), its columns named by ``columns``; the id is then the name of the first image file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from medpref import store
from medpref.arrow import split_of
from medpref.errors import DataError, nearest
from medpref.registry import SOURCES
from medpref.schema import Example, Frozen, Split
from medpref.sources.r2gen import REPORT_QUESTION, Study, read_studies, report_example
from medpref.sources.record import need_file
from medpref.sources.shelf import Shelf
from medpref.sources.splits import unit_hash

COLUMNS = {"image": "image_path", "report": "report", "patient": "subject_id", "split": "split"}


@SOURCES.add
class MimicCxr(Frozen):
    """The studies of ``folder/annotation`` (``.json`` or ``.csv``); image paths are relative to ``folder/images``.

    ``columns`` names a CSV's columns where they differ from ``image_path``, ``report``, ``subject_id``, ``split``.
    """

    kind: Literal["mimic_cxr"] = "mimic_cxr"
    folder: str = Field(min_length=1)
    annotation: str = "annotation.json"
    images: str = "images"
    columns: Mapping[str, str] = Field(default_factory=dict)
    question: str = Field(default=REPORT_QUESTION, min_length=1)
    share: float = Field(default=1.0, gt=0, le=1, description="of the patients, drawn by name, the same for every seed")

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: Mapping[str, str]) -> Mapping[str, str]:
        for key in columns:
            if key not in COLUMNS:
                raise ValueError(f"{key!r} is no column of ours; {nearest(key, COLUMNS)}")
        return columns

    @property
    def synthetic(self) -> bool:
        """False: real films, radiologists' reports."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The studies in the file's order; DataError names file, row and key of the first bad one."""
        folder, shelf = Path(self.folder), Shelf(out, prefix=prefix)
        file = need_file(folder / self.annotation, what="an annotation of MIMIC-CXR (annotation.json or a CSV)")
        studies = _csv_studies(file, {**COLUMNS, **self.columns}) if file.suffix == ".csv" else read_studies(file)
        for where, split, study in studies:
            if not study.subject_id:
                todo = "add it: without the patient no split can be checked"
                raise DataError(f"{where}:subject_id", given="no patient", expected="the subject's id", todo=todo)
            if unit_hash(0, "mimic_cxr share", study.subject_id) >= self.share:
                continue
            yield report_example(
                study,
                split,
                where=where,
                images=folder / self.images,
                shelf=shelf,
                views=None,
                id=study.id,
                patient=study.subject_id,
                question=self.question,
                tags={"source": self.kind, "views": str(len(study.image_path))},
                source=self.kind,
                credentialed=True,
            )


def _csv_studies(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[str, Split, Study]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        header = reader.fieldnames or []
        for key, column in columns.items():
            if column not in header:
                todo = f"rename it, or set columns.{key}; {nearest(column, header)}"
                raise DataError(f"{path}:1", given=f"no column {column!r}", expected=f"the {key} of a study", todo=todo)
        for row in reader:
            where = f"{path}:{reader.line_num}"
            paths = [name.strip() for name in (row[columns["image"]] or "").split("|") if name.strip()]
            raw = {
                "id": Path(paths[0]).stem if paths else "",
                "image_path": paths,
                "report": row[columns["report"]] or "",
                "subject_id": row[columns["patient"]] or "",
            }
            split = split_of(row[columns["split"]] or "", where=f"{where}:{columns['split']}")
            yield where, split, store.parse_row(Study, raw, where=where)
