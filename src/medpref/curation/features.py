"""What examples are compared by: a thumbnail, the words of the question and of the rationale, and the findings.

Plain features that need no model. Rows are float32; those compared by cosine have length 1 (0 for an empty one).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medpref.imaging.decode import read_image
from medpref.language.answers import is_yes_no, normalise, tokens
from medpref.language.decision import presence_asked
from medpref.language.findings import polarities
from medpref.schema import Example

Rows = NDArray[np.float32]
THUMBNAIL_PX, BUCKETS = 16, 512
COSINE = frozenset({"image", "question", "rationale"})


def features(examples: Sequence[Example], root: Path, names: Sequence[str]) -> dict[str, Rows]:
    """The named features of examples, each of shape (example, width)."""
    makers = {"image": _images, "question": _questions, "rationale": _rationales, "findings": _findings}
    return {name: makers[name](examples, root) for name in names}


def _images(examples: Sequence[Example], root: Path) -> Rows:
    known: dict[str, Rows] = {}
    for example in examples:
        for ref in example.images:
            if ref.sha256 not in known:
                known[ref.sha256] = thumbnail(read_image(ref.locate(root)))
    return unit(np.stack([np.mean([known[ref.sha256] for ref in one.images], axis=0) for one in examples]))


def thumbnail(image: Image.Image) -> Rows:
    """The image as 16 x 16 grey values less their mean, at length 1 (0 for an even image): shape (256,)."""
    small = image.convert("L").resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32).ravel()
    return unit((values - values.mean())[None])[0]


def _questions(examples: Sequence[Example], root: Path) -> Rows:
    return bags([example.question for example in examples])


def _rationales(examples: Sequence[Example], root: Path) -> Rows:
    """The answer with the facts' words; without facts, what a yes or no says is there or not."""
    facts = [
        " ".join(" ".join(str(v) for v in fact.model_dump().values() if v) for fact in one.facts) for one in examples
    ]
    return bags([f"{fact} {one.answer}" if fact else _answer(one) for one, fact in zip(examples, facts, strict=True)])


def _answer(example: Example) -> str:
    """The answer; for yes or no to a question of presence the finding, or its absence.

    "Is this film normal?" "No" is no neighbour of "Is there an abnormality?" "No". An absence is one word, which shares
    nothing with the presence.
    """
    said = _decided(example)
    if said is None:
        return example.answer
    return said[0] if said[1] else "".join(("no", *said[0].split()))


def _decided(example: Example) -> tuple[str, bool] | None:
    """Which finding a yes or no speaks of, and whether it says that it is there; None for another answer."""
    if not is_yes_no([example.answer]):
        return None
    asked = presence_asked(example.question)
    return None if asked is None else (asked.finding, (normalise(example.answer) == "yes") == asked.yes_is_present)


def _findings(examples: Sequence[Example], root: Path) -> Rows:
    """1 where a finding is said to be present by a fact, or by the answer to a question without facts."""
    said = [_present(example) for example in examples]
    names = sorted(set().union(*said)) or ["none"]
    return np.array([[name in one for name in names] for one in said], dtype=np.float32)


def _present(example: Example) -> set[str]:
    if example.facts:
        return {fact.finding for fact in example.facts if fact.present}
    said = _decided(example)
    if said is not None:
        return {said[0]} if said[1] else set()
    return {name for name, polarity in polarities(example.answer).items() if polarity == "present"}


def bags(texts: Sequence[str]) -> Rows:
    """Words counted in 512 hashed buckets, each row at length 1."""
    counts = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in tokens(text):
            counts[row, zlib.crc32(word.encode()) % BUCKETS] += 1
    return unit(counts)


def unit(rows: Rows) -> Rows:
    """Rows at length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)
