"""The nouns: frozen values that every other module speaks of. Imports nothing of ours, and no torch.

Lengths and boxes are in pixels of the stored image, half-open; spans are half-open character ranges of a reply's text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

CLEAN, CORRUPT, CHOSEN, REJECTED = "clean", "corrupt", "chosen", "rejected"
SPLITS = ("train", "validation", "test")
Split = Literal["train", "validation", "test"]


class Frozen(BaseModel):
    """A frozen value; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Branch(NamedTuple):
    """A reply read against a view; written ``view/reply``.

    >>> Branch.parse("clean/chosen")
    Branch(view='clean', reply='chosen')
    """

    view: str
    reply: str

    @classmethod
    def parse(cls, text: str) -> Branch:
        view, slash, reply = text.partition("/")
        if not (slash and view and reply) or "/" in reply:
            raise ValueError(f"{text!r} is not a branch; write it as view/reply, for example clean/chosen")
        return cls(view, reply)

    def __str__(self) -> str:
        return f"{self.view}/{self.reply}"


class ImageRef(Frozen):
    """Where an image lies and which pixels it has: ``path`` is absolute, or relative to the run folder.

    ``sha256`` is of the file's bytes, in hexadecimal.
    """

    path: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def locate(self, root: Path) -> Path:
        """The file, for a run folder ``root``."""
        return Path(root) / self.path


class Mask(Frozen):
    """A binary mask as row-major run lengths, starting with a run of zeros: ``sum(runs) == height * width``."""

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    runs: tuple[int, ...]

    @model_validator(mode="after")
    def _covers(self) -> Self:
        if min(self.runs, default=0) < 0 or sum(self.runs) != self.height * self.width:
            raise ValueError(f"mask runs sum to {sum(self.runs)}, not to {self.height} x {self.width}")
        return self


class Region(Frozen):
    """A box ``(left, top, right, bottom)`` in pixels, half-open, with an optional mask of the whole image's size."""

    box: tuple[int, int, int, int]
    label: str = ""
    mask: Mask | None = None
    origin: str = ""
    confidence: float | None = Field(default=None, ge=0, le=1)
    image: int = Field(default=0, ge=0, description="index into the example's images")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        left, top, right, bottom = self.box
        if not (0 <= left < right and 0 <= top < bottom):
            raise ValueError(f"box {self.box} is empty or negative; write (left, top, right, bottom), half-open")
        return self


class Fact(Frozen):
    """One clinical statement about a study, in words; None where it does not apply.

    ``image`` is the index of the example's image of which it is said; None, which is not written, = of the whole study.
    """

    finding: str
    present: bool = True
    side: str | None = None
    zone: str | None = None
    severity: str | None = None
    size: str | None = None
    count: int | None = None
    sign: str | None = None
    image: int | None = Field(default=None, ge=0)

    @model_serializer(mode="wrap")
    def _without_none(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        if self.image is None:
            fields.pop("image", None)
        return fields


class Example(Frozen):
    """One question about one study.

    ``kind`` is the question type (presence, side, modality ...), ``tags`` name the slices the example is counted in,
    ``counterfactual`` is the same study without the lesion (synthetic sources only) with its right answer.
    """

    id: str = Field(min_length=1)
    patient: str = Field(min_length=1)
    images: tuple[ImageRef, ...] = Field(min_length=1)
    question: str
    answer: str
    split: Split
    kind: str = "open"
    answer_type: Literal["closed", "open", "report"] = "open"
    choices: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    facts: tuple[Fact, ...] = ()
    counterfactual: tuple[ImageRef, ...] = ()
    counterfactual_answer: str | None = None
    tags: Mapping[str, str] = Field(default_factory=dict)
    source: str = ""
    credentialed: bool = False

    @field_validator("question", "answer")
    @classmethod
    def _said(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty")
        return text


class Span(Frozen):
    """A half-open character range of a reply that differs from the other reply."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)

    @model_validator(mode="after")
    def _nonempty(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"span [{self.start}, {self.end}) is empty")
        return self


class Reply(Frozen):
    """A text answer, its spans, and who wrote it."""

    text: str
    spans: tuple[Span, ...] = ()
    author: str = ""

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if not self.text.strip():
            raise ValueError("reply text is empty")
        if any(span.end > len(self.text) for span in self.spans):
            raise ValueError(f"a span ends after the text's {len(self.text)} characters")
        return self


class PreferencePair(Frozen):
    """Views, replies, weight and provenance: what training reads. An absent branch is absent, never the clean one.

    A pair with the single reply ``chosen`` is an SFT example. ``provenance`` is JSON-able, enough to rebuild the pair.
    """

    id: str = Field(min_length=1)
    example: str
    patient: str
    question: str = Field(min_length=1)
    views: Mapping[str, tuple[ImageRef, ...]]
    replies: Mapping[str, Reply]
    weight: float = Field(default=1.0, ge=0)
    kind: str = ""
    provenance: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_clean(self) -> Self:
        if CLEAN not in self.views or CHOSEN not in self.replies:
            raise ValueError("a pair needs the view 'clean' and the reply 'chosen'")
        if not all(self.views.values()):
            raise ValueError("a view without an image")
        return self


class Verdict(NamedTuple):
    """A judgement with its reason; ``value`` None means not judged, never 0."""

    value: float | None
    reason: str
    evidence: Mapping[str, str] = {}


class Estimate(NamedTuple):
    """A metric's value with its 95 % interval, the number of items and of clusters (patients) behind it."""

    value: float
    low: float
    high: float
    items: int
    clusters: int


class OwnReply(Frozen):
    """A reply that a policy gave to an example, with what is needed to mine and to score it.

    ``log_probs`` are of the reply's tokens in nats (end token included); ``view`` names the image shown.
    """

    example: str
    text: str
    log_probs: tuple[float, ...] = ()
    view: str = CLEAN
    decoding: str = "greedy"


class VerdictRow(Frozen):
    """One line of ``verdicts.jsonl``: one metric on one example. Estimates are recomputed from these rows alone."""

    example: str
    patient: str
    metric: str
    value: float | None
    reason: str = ""
    kind: str = ""
    tags: Mapping[str, str] = Field(default_factory=dict)
    evidence: Mapping[str, str] = Field(default_factory=dict)


_KEBAB = re.compile(r"^[a-z0-9][a-z0-9_.\-]*$")


def is_name(text: str) -> bool:
    """Whether a text may name a recipe, an arm or a folder (lower case letters, digits, ``_ . -``)."""
    return bool(_KEBAB.match(text))
