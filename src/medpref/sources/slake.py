"""SLAKE (Liu et al. 2021, arXiv:2102.09542): 642 images with organ and lesion masks, questions in English and Chinese.

The authors' layout: ``train.json``, ``validate.json`` (or ``validation.json``), ``test.json``, ``mask.txt`` and one
folder an image, ``imgs/xmlabN/{source.jpg, mask.png, detection.json, question.json}``. The record ``{"img_name":
"xmlab1/source.jpg", "question": "Is there a brain edema?", "answer": "Yes", "q_lang": "en", "location": "Head",
"modality": "MRI", "answer_type": "CLOSED", "base_type": "vqa", "content_type": "Abnormality", "qid": 12, ...}`` of
``test.json`` becomes ``Example(id="xmlab1/12", patient="xmlab1", split="test", kind="abnormality",
answer_type="closed", choices=("yes", "no"), regions=(Region(label="Brain Edema", ...),), tags={"source": "slake",
"modality": "MRI", ...})``.

The split is by image. Which images are slices of one patient's volume is not published, so patients are images. An
example has the regions that its question names (`slake_regions`), or none; a Chinese closed question is parsed from
exact replies only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from medpref.registry import SOURCES
from medpref.schema import Example, Frozen, ImageRef, Region, Split
from medpref.sources.record import Record, Text, closing, need_file, polarity, read_records
from medpref.sources.shelf import Shelf
from medpref.sources.slake_regions import named_regions, read_names, read_regions
from medpref.sources.slake_words import chinese_choices

logger = logging.getLogger(__name__)
FILES: dict[Split, tuple[str, ...]] = {
    "train": ("train.json",),
    "validation": ("validate.json", "validation.json"),
    "test": ("test.json",),
}
KINDS = {"quantity": "count", "kg": "knowledge", "knowledge graph": "knowledge", "colour": "color"}


class Question(Record):
    """What is read of a SLAKE record."""

    img_name: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: Text
    q_lang: str
    qid: int | str
    answer_type: str = ""
    content_type: str = ""
    modality: str = ""
    location: str = ""
    base_type: str = ""


@SOURCES.add
class Slake(Frozen):
    """The examples of a SLAKE folder, in English, Chinese, or both (then an image is asked about in two languages)."""

    kind: Literal["slake"] = "slake"
    folder: str = Field(min_length=1)
    language: Literal["en", "zh", "both"] = "en"

    @property
    def synthetic(self) -> bool:
        """False: real images, physicians' questions."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The examples by split, in the files' order; DataError names file, record and key of the first bad one."""
        folder, shelf = Path(self.folder), Shelf(out, prefix=prefix)
        names, known, boxes_only = read_names(folder / "mask.txt"), dict[str, tuple[Region, ...]](), 0
        for split, files in FILES.items():
            file = next((folder / name for name in files if (folder / name).exists()), folder / files[0])
            for where, record in read_records(need_file(file, what="SLAKE's questions"), Question):
                if self.language not in ("both", record.q_lang):
                    continue
                path = folder / "imgs" / record.img_name
                placed = shelf.place(path, where=f"{where}.img_name")
                if record.img_name not in known:
                    found = read_regions(path.parent, names, size=(placed.height, placed.width))
                    known[record.img_name], boxes_only = found.regions, boxes_only + (not found.masked)
                regions = named_regions(record.question, record.answer, regions=known[record.img_name])
                yield _example(record, split, image=placed.ref, regions=regions)
        if boxes_only:
            logger.warning("%s: %d of %d images have boxes only: no usable mask", folder, boxes_only, len(known))


def kind_of(content_type: str) -> str:
    """The authors' question type in our words.

    >>> kind_of("Quantity"), kind_of("Position"), kind_of("")
    ('count', 'position', 'other')
    """
    plain = content_type.strip().casefold()
    return KINDS.get(plain, plain.replace(" ", "_")) or "other"


def _example(record: Question, split: Split, *, image: ImageRef, regions: tuple[Region, ...]) -> Example:
    name = Path(record.img_name).parent.name or Path(record.img_name).stem
    kind = kind_of(record.content_type)
    tags = {"source": "slake", "language": record.q_lang, "modality": record.modality, "location": record.location}
    tags |= {"knowledge": "yes" if record.base_type.casefold() == "kvqa" else "no"} | polarity(kind, record.answer)
    closed = closing(record.question, record.answer, said=record.answer_type)
    if record.q_lang == "zh" and record.answer_type.strip().upper() == "CLOSED":
        choices = chinese_choices(record.question, record.answer)
        closed = {"answer_type": "closed" if choices else "open", "choices": choices}
    return Example(
        id=f"{name}/{record.qid}",
        patient=name,
        images=(image,),
        question=record.question,
        answer=record.answer,
        split=split,
        kind=kind,
        regions=regions,
        tags={key: value for key, value in tags.items() if value},
        source="slake",
        **closed,
    )
