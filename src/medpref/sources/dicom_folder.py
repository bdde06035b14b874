"""A folder of DICOM files and a table of questions about them (CSV or JSON lines, the keys of `rows.Row`).

The line ``image,question,answer,split`` / ``a/IM1.dcm,Is there an effusion?,no,test`` becomes an example whose image
is a PNG made of the DICOM. What the row leaves out, the header tells: the patient (a hash of PatientID, never the id
itself) and the tags ``modality``, ``view`` and ``body_part``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from medpref import store
from medpref.imaging.decode import is_dicom, read_header
from medpref.registry import SOURCES
from medpref.schema import Example, Frozen
from medpref.sources.jsonl import load_rows
from medpref.sources.rows import Row

HEADER_TAGS = {"modality": "Modality", "view": "ViewPosition", "body_part": "BodyPartExamined"}


@SOURCES.add
class DicomFolder(Frozen):
    """The examples of ``folder/questions``; ``split: by_patient`` assigns splits instead of reading them."""

    kind: Literal["dicom_folder"] = "dicom_folder"
    folder: str = Field(min_length=1)
    questions: str = "questions.csv"
    split: Literal["given", "by_patient"] = "given"

    @property
    def synthetic(self) -> bool:
        """False: whose data these are is the user's knowledge."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The examples, in the table's order; DataError names file, row and key of the first bad one."""
        table = Path(self.folder) / self.questions
        for example in load_rows(table, out, seed=seed, prefix=prefix, split=self.split, enrich=from_header):
            yield example.model_copy(update={"source": self.kind})


def from_header(row: Row, path: Path) -> Row:
    """The row with the patient and the tags it does not state itself, from the header of its first image."""
    if not is_dicom(path):
        return row
    header = read_header(path)
    tags = {name: str(value) for name, key in HEADER_TAGS.items() if (value := header.get(key))}
    patient = row.patient
    if patient is None and header.get("PatientID"):
        patient = f"dicom-{store.digest(str(header.PatientID).encode())[:16]}"
    return row.model_copy(update={"tags": {**tags, **row.tags}, "patient": patient})
