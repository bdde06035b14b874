"""Studies that contract suites ask components about: small films on disk, questions of every type, replies of a policy.

Made by rule from nothing, so that every run of a suite sees the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medpref import store
from medpref.curation.draft import Context
from medpref.curation.pool import gather
from medpref.imaging.decode import Pixels, encode_png
from medpref.schema import Example, Fact, ImageRef, OwnReply, Region
from medpref.seeds import generator

HEIGHT, WIDTH = 40, 48
REPORT = "There is a small left pleural effusion. No pneumothorax. The heart is enlarged."
WRONG_REPORT = "There is a small right pleural effusion. No pneumothorax. The heart is enlarged."

CLOSED = {"answer_type": "closed"}
QUESTIONS: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("presence", "Is there a pleural effusion?", "Yes", "No", {"choices": ("yes", "no"), "answer_type": "closed"}),
    ("presence", "Is there a pneumothorax?", "No", "Yes", {"choices": ("yes", "no"), "answer_type": "closed"}),
    (
        "side",
        "On which side is the effusion?",
        "Left",
        "Right",
        {"choices": ("left", "right"), "answer_type": "closed"},
    ),
    ("severity", "How severe is the effusion?", "Small", "Large", {}),
    ("organ", "Which organ is enlarged?", "The heart", "The liver", {}),
    ("modality", "What modality is this?", "X-ray", "CT", {}),
    ("report", "Describe the findings.", REPORT, WRONG_REPORT, {"answer_type": "report"}),
)
"""Kind, question, answer, a wrong reply, further fields."""


class Studies(NamedTuple):
    """Train examples with their images in order (grey, every third one in colour), and what writers and miners read."""

    examples: tuple[Example, ...]
    images: tuple[Pixels, ...]
    context: Context


def make_studies(root: Path, *, patients: int = 4) -> Studies:
    """The studies of some patients, one film each, files written below ``root``; half of the own replies are right."""
    examples: list[Example] = []
    images: list[Pixels] = []
    replies: dict[str, OwnReply] = {}
    for patient in range(patients):
        image = _film(patient)
        data = encode_png(image)
        ref = ImageRef(path=store.put_blob(root, data, ".png"), sha256=store.digest(data))
        for number, (kind, question, answer, wrong, fields) in enumerate(QUESTIONS):
            example = _example(patient, number, ref, kind=kind, question=question, answer=answer, **fields)
            right = (patient + number) % 2 == 0
            text = answer if right else wrong
            log_probs = tuple(-0.05 * (1 + patient + number) for _ in range(len(text.split()) + 1))
            examples.append(example)
            images.append(image)
            replies[example.id] = OwnReply(example=example.id, text=text, log_probs=log_probs)
    context = gather(examples, replies, seed=0, root=root)
    return Studies(tuple(examples), tuple(images), replace(context, builder="contract", near=_near(examples)))


def _example(patient: int, number: int, ref: ImageRef, *, kind: str, **fields: Any) -> Example:
    box = (6 + patient, 8, 20 + patient, 26)
    negative = fields["answer"] == "No"
    finding = "pneumothorax" if negative else "pleural effusion"
    fact = Fact(finding=finding, present=not negative, side=None if negative else "left")
    region = Region(box=box, label=finding, origin="contract", confidence=0.9)
    return Example(
        id=f"contract/{patient}-{number}",
        patient=f"p{patient}",
        images=(ref,),
        kind=kind,
        split="train",
        regions=() if negative else (region,),
        facts=(fact,),
        source="contract",
        **fields,
    )


def _film(patient: int) -> Pixels:
    """A grey ramp with grain; every third one in colour."""
    grey = np.tile(np.linspace(40, 200, WIDTH), (HEIGHT, 1))
    clean = np.stack([grey] * 3, axis=-1) if patient % 3 == 2 else grey
    grain = generator(0, "contract film", str(patient)).normal(0, 8, clean.shape)
    film: Pixels = np.clip(clean + grain, 0, 255).astype(np.uint8)
    return film


def _near(examples: Sequence[Example]) -> dict[str, tuple[tuple[str, float], ...]]:
    """Every example of another patient and of the same kind, in order, at a made-up distance."""
    return {
        one.id: tuple(
            (other.id, float(rank))
            for rank, other in enumerate(examples)
            if other.kind == one.kind and other.patient != one.patient
        )
        for one in examples
    }
