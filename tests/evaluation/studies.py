"""Small studies on disk, and a model that is a function: what the evaluation tests run on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from medpref.imaging.decode import encode_png
from medpref.schema import Branch, Example, ImageRef, OwnReply, Region
from medpref.store import put_blob

SIZE = 48
BOX = (10, 12, 20, 22)


def image(root: Path, patient: int, *, lesion: bool) -> ImageRef:
    rng = np.random.default_rng(patient)
    pixels = rng.integers(60, 90, size=(SIZE, SIZE)).astype(np.uint8)
    if lesion:
        left, top, right, bottom = BOX
        pixels[top:bottom, left:right] = 250
    name = put_blob(root / "examples", encode_png(pixels), ".png")
    return ImageRef(path=f"examples/{name}", sha256=Path(name).stem)


def studies(root: Path, patients: int = 12, *, split: str = "test", first: int = 0) -> list[Example]:
    """Per patient: presence (yes iff the patient's number is even), side (open), and a report."""
    found = []
    for number in range(first, first + patients):
        sick = number % 2 == 0
        shared = {
            "patient": f"p{number}",
            "images": (image(root, number, lesion=sick),),
            "split": split,
            "tags": {"shortcut": "broken" if number % 3 == 0 else "held"},
        }
        marked = {"regions": (Region(box=BOX),)} if sick else {}
        clean = {"counterfactual": (image(root, number, lesion=False),), "counterfactual_answer": "no"} if sick else {}
        asked = {"question": "Is there a nodule?", "answer": "yes" if sick else "no", "choices": ("yes", "no")}
        name = f"e{number}"
        found.append(
            Example(id=f"{name}-presence", kind="presence", answer_type="closed", **asked, **shared, **marked, **clean)
        )
        if sick:
            asked = {"question": "Which side?", "answer": "left" if number % 4 else "right"}
            found.append(Example(id=f"{name}-side", kind="side", **asked, **shared, **marked))
        text = "There is a nodule. No pleural effusion." if sick else "No nodule. No pleural effusion."
        found.append(
            Example(
                id=f"e{number}-report", question="Report.", answer=text, kind="report", answer_type="report", **shared
            )
        )
    return found


def looks(path: Path) -> bool:
    """Whether the bright lesion stands in the image."""
    from medpref.imaging.decode import read_array

    pixels = read_array(path)
    return bool((pixels >= 240).sum() > 20)


class Seer:
    """A model that sees: answers by the pixels. ``calls`` counts the chunks it was asked for."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls = root, 0

    def answer(self, examples):
        self.calls += 1
        return [OwnReply(example=one.id, text=self.say(one), log_probs=(-0.1,)) for one in examples]

    def say(self, example: Example) -> str:
        seen = looks(example.images[0].locate(self.root))
        if example.kind == "presence":
            return "Yes." if seen else "No."
        if example.kind == "report":
            return "There is a nodule." if seen else "No nodule is seen."
        return "left"

    def read(self, pairs):
        self.calls += 1
        return [
            {
                Branch(view, name): self.log_prob(reply.text, images[0].locate(self.root))
                for view, images in pair.views.items()
                for name, reply in pair.replies.items()
            }
            for pair in pairs
        ]

    def log_prob(self, text: str, path: Path) -> float:
        seen = looks(path)
        likely = {"yes": seen, "no": not seen}.get(text.lower().strip("."), seen)
        return -0.1 if likely else -3.0


class Blind(Seer):
    """A model that answers from the question alone."""

    def say(self, example: Example) -> str:
        return {"presence": "yes", "report": "No nodule. No pleural effusion.", "side": "left"}[example.kind]

    def log_prob(self, text: str, path: Path) -> float:
        return -0.1 if text.lower().startswith("yes") else -1.0 - int(hashlib.md5(text.encode()).hexdigest(), 16) % 7
