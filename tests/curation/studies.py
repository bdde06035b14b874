"""A small train split on disk: grey images with a bright lesion, questions of every sort, and own replies."""

from pathlib import Path
from typing import Any

import numpy as np

from medpref import store
from medpref.curation.draft import Context
from medpref.curation.pool import gather
from medpref.imaging.decode import encode_png
from medpref.schema import Example, Fact, ImageRef, OwnReply, Region

SIZE = 24
REPORT = "The heart is mildly enlarged. There is a small left pleural effusion. No pneumothorax."
EFFUSION = Fact(finding="pleural effusion", side="left", severity="small")
# kind, question, answer, answer type, choices, own reply
ASKED: tuple[tuple[str, str, str, str, tuple[str, ...], str], ...] = (
    ("presence", "Is there a pleural effusion?", "Yes", "closed", ("yes", "no"), "No"),
    ("presence", "Is there a pneumothorax?", "No", "closed", ("yes", "no"), "No"),
    ("side", "On which side is the pleural effusion?", "Left", "closed", ("left", "right", "both", "none"), "Right"),
    ("severity", "How large is the pleural effusion?", "Small", "closed", ("small", "moderate", "large"), "Small"),
    ("count", "How many nodules are seen?", "Two", "closed", ("none", "one", "two", "three"), "Three"),
    ("abnormality", "What is abnormal?", "Pleural effusion", "open", (), "Atelectasis"),
    ("view", "Which view is this?", "PA", "closed", ("ap", "pa"), "AP"),
    ("organ", "Which organ is it?", "right lung", "open", (), "right lung"),
    ("report", "Describe the findings.", REPORT, "report", (), REPORT.replace("left", "right")),
)


def picture(patient: int) -> np.ndarray:
    rng = np.random.default_rng(patient)
    image = rng.integers(40, 90, size=(SIZE, SIZE)).astype(np.uint8)
    image[4:10, 4 + patient % 5 : 12 + patient % 5] = 200
    return image


def train_split(root: Path, *, patients: int = 3, split: str = "train", first: int = 0) -> list[Example]:
    """Every question about each patient; every second patient has a region."""
    made = []
    for patient in range(first, first + patients):
        data = encode_png(picture(patient))
        path = "examples/" + store.put_blob(root / "examples", data, ".png")
        ref = ImageRef(path=path, sha256=store.digest(data))
        box = Region(box=(4, 4, 12, 10), label="pleural effusion", confidence=0.25 + 0.5 * (patient % 3) / 2)
        for kind, question, answer, answer_type, choices, _ in ASKED:
            number = len(made) % len(ASKED)
            fields: dict[str, Any] = {"answer_type": answer_type, "choices": choices, "facts": (EFFUSION,)}
            regions = (box,) if patient % 2 == 0 else ()
            made.append(
                Example(
                    id=f"{split}-{patient}-{number}", patient=f"{split}-p{patient}", images=(ref,), question=question,
                    answer=answer, split=split, kind=kind, regions=regions, **fields,
                )
            )  # fmt: skip
    return made


def own_replies(examples: list[Example]) -> dict[str, OwnReply]:
    """The replies of ``ASKED``; the more patients before, the surer."""
    said = {}
    for place, example in enumerate(examples):
        text = ASKED[place % len(ASKED)][-1]
        sure = -0.05 * (1 + place // len(ASKED))
        said[example.id] = OwnReply(example=example.id, text=text, log_probs=(sure, sure, -3.0))
    return said


def context_of(examples: list[Example], root: Path, *, seed: int = 0, own: bool = True) -> Context:
    return gather(examples, own_replies(examples) if own else {}, seed=seed, root=root)
