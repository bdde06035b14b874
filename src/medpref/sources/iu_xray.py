"""IU X-ray (Demner-Fushman et al. 2016, doi:10.1093/jamia/ocv080) as R2Gen lays it out: chest films with their reports.

``annotation.json`` beside ``images/``. The study ``{"id": "CXR9_IM-0007", "image_path": ["CXR9_IM-0007/0.png",
"CXR9_IM-0007/1.png"], "report": "The lungs are clear.", "split": "val"}`` becomes ``Example(id="CXR9_IM-0007",
patient="CXR9", split="validation", kind="report", answer_type="report", answer="The lungs are clear.", images=(two),
tags={"source": "iu_xray", "views": "2"})``.

A study's images come in the file's order, as a rule frontal then lateral; the layout does not say which is which, so
no tag claims it. The split is R2Gen's, by study; each study is one patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from medpref.registry import SOURCES
from medpref.schema import Example, Frozen
from medpref.sources.r2gen import REPORT_QUESTION, read_studies, report_example
from medpref.sources.record import need_file
from medpref.sources.shelf import Shelf

FILE = "annotation.json"


@SOURCES.add
class IuXray(Frozen):
    """The studies of an IU X-ray folder, with all their views or the first only (as a rule the frontal one)."""

    kind: Literal["iu_xray"] = "iu_xray"
    folder: str = Field(min_length=1)
    views: Literal["all", "first"] = "all"
    question: str = Field(default=REPORT_QUESTION, min_length=1)

    @property
    def synthetic(self) -> bool:
        """False: real films, radiologists' reports."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The studies in the file's order; DataError names file, split, index and key of the first bad one."""
        folder, shelf = Path(self.folder), Shelf(out, prefix=prefix)
        file = need_file(folder / FILE, what="R2Gen's annotation of IU X-ray")
        limit = 1 if self.views == "first" else None
        for where, split, study in read_studies(file):
            yield report_example(
                study,
                split,
                where=where,
                images=folder / "images",
                shelf=shelf,
                views=limit,
                id=study.id,
                patient=study.id.split("_")[0],
                question=self.question,
                tags={"source": self.kind, "views": str(len(study.image_path[:limit]))},
                source=self.kind,
            )
