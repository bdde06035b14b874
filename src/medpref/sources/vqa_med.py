"""VQA-Med-2019 (Ben Abacha et al. 2019, CEUR-WS 2380): modality, plane, organ and abnormality of MedPix images.

The authors' layout: ``ImageClef-2019-VQA-Med-Training/{All_QA_Pairs_train.txt, QAPairsByCategory/C1_Modality_train.txt
..., Train_images/}``, ``ImageClef-2019-VQA-Med-Validation/`` alike, and
``VQAMed2019Test/{VQAMed2019_Test_Questions_w_Ref_Answers.txt, VQAMed2019_Test_Images/}`` (unzipped). The line
``synpic41148|what kind of image is this?|ct`` of a category's file becomes ``Example(id="vqa-med-train-000007",
patient="synpic41148", split="train", kind="modality", answer="ct", tags={"source": "vqa_med"})``; test lines are
``synpic54143|abnormality|what is wrong?|tumor#mass``.

A test answer may offer several right texts (``a#b``) and optional parts in parentheses. The first text is the answer,
without the parentheses' marks; the tag ``alternatives: yes`` says that others were lost and exact match is too strict.
Which images are of one MedPix case is not published: patients are images.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from medpref.errors import DataError
from medpref.registry import SOURCES
from medpref.schema import Example, Frozen, Split
from medpref.sources.record import closing, need_file
from medpref.sources.shelf import Shelf

CATEGORIES = ("modality", "plane", "organ", "abnormality")
TEST = "VQAMed2019_Test_Questions_w_Ref_Answers.txt"
_CATEGORY_FILE = re.compile(r"^C\d+_([A-Za-z]+)_")


class Part(NamedTuple):
    """One split on disk: its folder, the file of all questions, its image folder."""

    split: Split
    folder: str
    file: str
    images: str


PARTS = (
    Part("train", "ImageClef-2019-VQA-Med-Training", "All_QA_Pairs_train.txt", "Train_images"),
    Part("validation", "ImageClef-2019-VQA-Med-Validation", "All_QA_Pairs_val.txt", "Val_images"),
    Part("test", "VQAMed2019Test", TEST, "VQAMed2019_Test_Images"),
)


class Line(NamedTuple):
    """One question: the image's name without its suffix, the question type, the texts, and where it stands."""

    image: str
    category: str
    question: str
    answer: str
    where: str


@SOURCES.add
class VqaMed(Frozen):
    """The examples of a VQA-Med-2019 folder, with the authors' split."""

    kind: Literal["vqa_med"] = "vqa_med"
    folder: str = Field(min_length=1)

    @property
    def synthetic(self) -> bool:
        """False: real images; questions made from their captions by rules, test answers checked by physicians."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The examples by split, in the files' order; DataError names file and line of the first bad one."""
        shelf = Shelf(out, prefix=prefix)
        for part in PARTS:
            folder = Path(self.folder) / part.folder
            for number, line in enumerate(read_part(folder, part), start=1):
                path = folder / part.images / f"{line.image}.jpg"
                placed = shelf.place(path, where=f"{line.where}:image")
                answer, others = first_answer(line.answer)
                yield Example(
                    id=f"vqa-med-{part.split}-{number:06d}",
                    patient=line.image,
                    images=(placed.ref,),
                    question=line.question,
                    answer=answer,
                    split=part.split,
                    kind=line.category,
                    tags={"source": self.kind, **({"alternatives": "yes"} if others else {})},
                    source=self.kind,
                    **closing(line.question, answer),
                )


def read_part(folder: Path, part: Part) -> Iterator[Line]:
    """The questions of one split, each with its category (other where no category's file has it)."""
    file = need_file(folder / part.file, what="VQA-Med-2019's questions")
    if part.split == "test":
        for where, cells in _lines(file, cells=4):
            image, category, question, answer = cells
            yield Line(image, _category(category), question, answer, where)
        return
    known = {}
    for path in sorted((folder / "QAPairsByCategory").glob("*.txt")):
        named = _CATEGORY_FILE.match(path.name)
        for _, cells in _lines(path, cells=3):
            known[tuple(cells)] = _category(named.group(1) if named else "")
    for where, cells in _lines(file, cells=3):
        image, question, answer = cells
        yield Line(image, known.get(tuple(cells), "other"), question, answer, where)


def first_answer(answer: str) -> tuple[str, bool]:
    """The first of the answers that a reference offers, optional parts kept, and whether it offers others.

    >>> first_answer("(invasive) aspergillosis#septic emboli"), first_answer("axial")
    (('invasive aspergillosis', True), ('axial', False))
    """
    first, _, others = answer.partition("#")
    return " ".join(first.replace("(", " ").replace(")", " ").split()), bool(others.strip()) or "(" in first


def _category(text: str) -> str:
    plain = text.strip().casefold()
    return plain if plain in CATEGORIES else "other"


def _lines(path: Path, *, cells: int) -> Iterator[tuple[str, list[str]]]:
    """``(where, cells)`` of each line; DataError where a line has another number of cells or an empty one."""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.strip():
            found = [cell.strip() for cell in line.split("|")]
            if len(found) != cells or not all(found):
                given = f"{len(found)} cells: {line[:60]!r}"
                todo = "restore the line; a question holds no |"
                raise DataError(f"{path}:{number}", given=given, expected=f"{cells} filled cells", todo=todo)
            yield f"{path}:{number}", found
