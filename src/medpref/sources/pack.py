"""The small real pack: VQA-RAD and VQA-Med-2019 questions, chest X-rays with drawn masks, DICOM files.

One record of ``manifest.jsonl`` is one image; each of its ``qa`` becomes an example, for instance ``{"qid":
"vqarad-train-1476", "dataset": "VQA-RAD", "split": "train", "question": "Is there cardiomegaly?", "answer": "yes",
"answer_type": "CLOSED", ...}`` becomes ``Example(id="vqarad-train-1476", patient="synpic15006", kind="presence",
answer_type="closed", choices=("yes", "no"), tags={"source": "vqa_rad", "modality": "XR", ...})``.

Answers keep their text. The chest X-rays' labels are non-commercial (tag ``noncommercial``); leave ``cxr`` out of
``parts`` for commercial work. Research and software testing only: nothing here supports a clinical claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from medpref.registry import SOURCES
from medpref.schema import Example, Frozen, PreferencePair
from medpref.sources.pack_cxr import cxr_examples
from medpref.sources.pack_dicom import dicom_examples
from medpref.sources.pack_pairs import pack_pairs
from medpref.sources.pack_vqa import VALIDATION_SHARE, VqaSplit, records, vqa_examples

Part = Literal["vqa_rad", "vqa_med", "cxr", "dicom"]


@SOURCES.add
class Pack(Frozen):
    """The examples of a pack folder (``manifest.jsonl`` beside ``images/`` and ``masks/``).

    VQA-RAD keeps its official split, which is by question: an image can carry train and test questions (test examples
    say so in the tag ``image_seen``). ``vqa_split: by_image`` moves every question of such an image to test instead.
    VQA-Med-2019 has no test questions in the pack: its validation set is our test set. Our validation set is the share
    ``validation`` of the images that have train questions only, the same for every seed. Chest X-rays come split by
    patient. ``dicom`` (three files, all train; needs the extra of that name) is loaded where ``parts`` names it.
    """

    kind: Literal["pack"] = "pack"
    folder: str = Field(min_length=1)
    parts: tuple[Part, ...] = ("vqa_rad", "vqa_med", "cxr")
    vqa_split: VqaSplit = "official"
    validation: float = Field(default=VALIDATION_SHARE, ge=0, lt=1)

    @property
    def synthetic(self) -> bool:
        """False: real images and real questions."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The examples, in the manifest's order, DICOM last; DataError names the record and what is wrong with it."""
        folder = Path(self.folder)
        for record, ref in records(folder, self.parts):
            yield from vqa_examples(record, ref, parts=self.parts, vqa_split=self.vqa_split, validation=self.validation)
            if "cxr" in self.parts and not record["qa"]:
                yield from cxr_examples(record, ref, folder)
        if "dicom" in self.parts:
            yield from dicom_examples(folder / "dicom", out, prefix=prefix)

    def pairs(self, examples: Sequence[Example] = ()) -> Iterator[PreferencePair]:
        """The pack's own scored pairs on this source's VQA-RAD train questions."""
        if "vqa_rad" in self.parts:
            yield from pack_pairs(Path(self.folder), vqa_split=self.vqa_split, validation=self.validation)
