"""VQA-RAD (Lau et al. 2018, doi:10.1038/sdata.2018.251): radiologists' questions about 315 MedPix images.

The authors' OSF layout: ``VQA_RAD Dataset Public.json`` beside ``VQA_RAD Image Folder/``. The record ``{"qid": 1,
"phrase_type": "test_freeform", "qid_linked_id": "03f4", "image_case_url": "https://medpix.nlm.nih.gov/case?id=48e1",
"image_name": "synpic54610.jpg", "image_organ": "HEAD", "question": "Is there an infarct?", "answer": "Yes",
"answer_type": "CLOSED", "question_type": "PRES", ...}`` becomes ``Example(id="vqa-rad-1", patient="48e1", split="test",
kind="presence", answer_type="closed", choices=("yes", "no"), tags={"source": "vqa_rad", "organ": "HEAD", ...})``.

The official test set (``phrase_type`` test_freeform and test_para, 451 questions) is split by question: 202 of its 203
images also carry train questions. Test examples therefore say in their tags whether their image was seen
(``image_seen``) and whether a rephrasing of the same question was (``paraphrase_seen``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field

from medpref.registry import SOURCES
from medpref.schema import Example, Frozen, Split
from medpref.sources.pack_vqa import VALIDATION_SHARE, vqa_splits
from medpref.sources.record import Record, Text, closing, need_file, polarity, read_records
from medpref.sources.shelf import Shelf
from medpref.sources.splits import assign_split

FILE, IMAGES = "VQA_RAD Dataset Public.json", "VQA_RAD Image Folder"
KINDS = {
    "pres": "presence", "prse": "presence", "abn": "abnormality", "modality": "modality", "plane": "plane",
    "organ": "organ", "pos": "position", "size": "size", "count": "count", "color": "color",
    "attrib": "attribute", "atrib": "attribute", "attribute": "attribute",
}  # fmt: skip
Located = tuple[str, "Question"]


class Question(Record):
    """What is read of a VQA-RAD record."""

    qid: int | str
    phrase_type: str
    image_name: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: Text
    answer_type: str
    question_type: str = ""
    image_organ: str = ""
    image_case_url: str = ""
    qid_linked_id: str = ""

    @property
    def patient(self) -> str:
        """The MedPix case, which is one patient; the image where no case is named."""
        cases = parse_qs(urlsplit(self.image_case_url).query).get("id")
        return cases[0] if cases else Path(self.image_name).stem


@SOURCES.add
class VqaRad(Frozen):
    """The examples of a VQA-RAD folder.

    ``split``: the authors' (official), all questions of a test image moved to test (by_image), or patients drawn anew
    by the run's seed, 70/10/20 (by_patient; not comparable with published numbers). Where it is not by_patient, our
    validation set is the share ``validation`` of the images that have train questions only.
    """

    kind: Literal["vqa_rad"] = "vqa_rad"
    folder: str = Field(min_length=1)
    split: Literal["official", "by_image", "by_patient"] = "official"
    validation: float = Field(default=VALIDATION_SHARE, ge=0, lt=1)

    @property
    def synthetic(self) -> bool:
        """False: real images, radiologists' questions."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The examples in the file's order; DataError names file, record and key of the first bad one."""
        folder, shelf = Path(self.folder), Shelf(out, prefix=prefix)
        asked = list(read_records(need_file(folder / FILE, what="VQA-RAD's questions"), Question))
        splits = self._splits(asked, seed)
        seen = {key for where, record in asked if splits[where] == "train" for key in _traces(record)}
        for where, record in asked:
            placed = shelf.place(folder / IMAGES / record.image_name, where=f"{where}.image_name")
            kind = kind_of(record.question_type)
            tags = {"source": "vqa_rad", "organ": record.image_organ, **polarity(kind, record.answer)}
            if splits[where] == "test":
                image, linked = _traces(record)
                tags |= {"image_seen": _yes(image in seen), "paraphrase_seen": _yes(linked in seen)}
            yield Example(
                id=f"vqa-rad-{record.qid}",
                patient=record.patient,
                images=(placed.ref,),
                question=record.question.strip(),
                answer=record.answer.strip(),
                split=splits[where],
                kind=kind,
                tags={key: value for key, value in tags.items() if value},
                source="vqa_rad",
                **closing(record.question, record.answer, said=record.answer_type),
            )

    def _splits(self, asked: Sequence[Located], seed: int) -> Mapping[str, Split]:
        """The split of each question, by where it stands."""
        if self.split == "by_patient":
            return {where: assign_split(record.patient, seed=seed) for where, record in asked}
        images: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for where, record in asked:
            test = record.phrase_type.startswith("test")
            images[record.image_name].append({"qid": where, "split": "test" if test else "train"})
        return {
            where: split
            for image, questions in images.items()
            for where, split in vqa_splits(
                questions, Path(image).stem, vqa_split=self.split, validation=self.validation
            ).items()
        }


def kind_of(question_type: str) -> str:
    """The authors' question type in our words; of several ("PRES, POS") the first; "other" for what has no name.

    >>> kind_of("PRES, POS"), kind_of("Other"), kind_of("ATRIB")
    ('presence', 'other', 'attribute')
    """
    first = re.split(r"[,;/ ]+", question_type.strip().casefold())[0]
    return KINDS.get(first, "other")


def _traces(record: Question) -> tuple[tuple[str, str], tuple[str, str]]:
    """What a question shares with others: its image, and the link of its rephrasings (itself where it has none)."""
    return ("image", record.image_name), ("linked", record.qid_linked_id or f"only {record.qid}")


def _yes(said: bool) -> str:
    return "yes" if said else "no"
