"""Questions about the pack's DICOM files, from their recorded headers: modality, and the view of chest films.

Three files: too few to measure anything on, enough to see that DICOM goes all the way through. All are train.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medpref import store
from medpref.schema import Example
from medpref.sources.pack_cxr import VIEW_QUESTION, VIEWS
from medpref.sources.place import place

MODALITIES = {"CR": "XR", "DX": "XR", "CT": "CT", "MR": "MR"}
MODALITY_QUESTION = "What imaging modality is this?"
CHOICES = ("CT", "MR", "XR")


def dicom_examples(folder: Path, out: Path, *, prefix: str) -> Iterator[Example]:
    """The questions about each file of ``folder/manifest.jsonl``; pixels become PNG blobs below ``out``."""
    for _, record in store.iter_lines(folder / "manifest.jsonl"):
        name = Path(record["file"]).stem
        modality = MODALITIES[record["modality"]]
        shared = {
            "patient": f"dicom-{name.split('_')[0]}",
            "images": (place(folder.parent / record["file"], out, prefix=prefix).ref,),
            "split": "train",
            "answer_type": "closed",
            "tags": {"source": "dicom", "modality": modality, "noncommercial": "no"},
            "source": "pack",
        }
        yield Example(
            id=f"dicom/{name}/modality",
            question=MODALITY_QUESTION,
            answer=modality,
            kind="modality",
            choices=CHOICES,
            **shared,
        )
        if record["view"] in VIEWS:
            choices = tuple(sorted(set(VIEWS.values())))
            answer = VIEWS[record["view"]]
            yield Example(
                id=f"dicom/{name}/view", question=VIEW_QUESTION, answer=answer, kind="view", choices=choices, **shared
            )
