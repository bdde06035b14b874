"""Reasons to drop a finished pair."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import Field

from medpref.curation.falsify import alike_in_length
from medpref.judging.agreement import Agreement
from medpref.language.answers import contains, is_yes_no
from medpref.registry import SCREENS
from medpref.schema import CHOSEN, CLEAN, CORRUPT, REJECTED, Example, Frozen, PreferencePair

_DEBRIS = re.compile(
    r"</?(?:mask|image|answer|think|s|unk|pad)\w*/?>|<\|[^|>]*\|>|\[/?(?:INST|MASK)\]|```|&(?:amp|lt|gt|quot|nbsp);|�"
    r"|\bXXXX\b|\bas an ai\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Around:
    """What a screen may look at besides the pair: its example, and the patients and images of other splits."""

    example: Example | None = None
    patients: frozenset[str] = field(default_factory=frozenset)
    images: frozenset[str] = field(default_factory=frozenset)


class Screen(Protocol):
    """A reason to drop a pair, or None."""

    kind: str

    def reject(self, pair: PreferencePair, around: Around) -> str | None: ...


@SCREENS.add
class ContainsReference(Frozen):
    """Drops a pair whose rejected reply says the reference's words (yes and no aside)."""

    kind: Literal["contains_reference"] = "contains_reference"

    def reject(self, pair: PreferencePair, around: Around) -> str | None:
        answer = str(pair.provenance.get("answer", pair.replies[CHOSEN].text))
        rejected = pair.replies.get(REJECTED)
        if rejected is None or is_yes_no([answer]) or not contains(rejected.text, answer):
            return None
        return "the rejected reply contains the reference"


@SCREENS.add
class Agrees(Frozen):
    """Drops a pair whose chosen reply does not agree with the reference, or whose rejected one does."""

    kind: Literal["agrees"] = "agrees"

    def reject(self, pair: PreferencePair, around: Around) -> str | None:
        if around.example is None:
            return "its example is unknown, so nothing can be checked against"
        judge = Agreement()
        chosen = judge.judge(around.example, pair.replies[CHOSEN].text)
        if chosen.value != 1.0:
            return "the chosen reply does not agree with the reference"
        if REJECTED in pair.replies and judge.judge(around.example, pair.replies[REJECTED].text).value != 0.0:
            return "the rejected reply is not wrong"
        return None


@SCREENS.add
class Length(Frozen):
    """Drops a pair whose replies are too short, too long, or (``alike``) differ by over 2 words and a third."""

    kind: Literal["length"] = "length"
    min_words: int = Field(default=1, ge=1)
    max_words: int = Field(default=512, ge=1)
    alike: bool = True

    def reject(self, pair: PreferencePair, around: Around) -> str | None:
        for name, reply in pair.replies.items():
            if not self.min_words <= len(reply.text.split()) <= self.max_words:
                return f"the {name} reply is outside {self.min_words} to {self.max_words} words"
        rejected = pair.replies.get(REJECTED)
        if self.alike and rejected and not alike_in_length(rejected.text, pair.replies[CHOSEN].text):
            return "chosen and rejected differ in length"
        return None


@SCREENS.add
class Debris(Frozen):
    """Drops a pair with tags, template tokens, entities or de-identification marks in a reply."""

    kind: Literal["debris"] = "debris"

    def reject(self, pair: PreferencePair, around: Around) -> str | None:
        for name, reply in pair.replies.items():
            if _DEBRIS.search(reply.text):
                return f"tag debris in the {name} reply"
        return None


@SCREENS.add
class Leaked(Frozen):
    """Drops a pair whose patient (or image) also stands in another split."""

    kind: Literal["leaked"] = "leaked"
    by: Literal["patient", "image", "both"] = "both"

    def reject(self, pair: PreferencePair, around: Around) -> str | None:
        if self.by != "image" and pair.patient in around.patients:
            return "its patient is also in another split"
        if self.by != "patient" and any(ref.sha256 in around.images for ref in pair.views[CLEAN]):
            return "its image is also in another split"
        return None


@SCREENS.add
class NeedsView(Frozen):
    """Drops a pair without a corrupt view: for objectives whose control must see the same pairs."""

    kind: Literal["needs_view"] = "needs_view"

    def reject(self, pair: PreferencePair, around: Around) -> str | None:
        return None if CORRUPT in pair.views else "no corrupt view"


@SCREENS.add
class Weight(Frozen):
    """Drops a pair that weighs less than ``least`` before reweighing (a weight of 0 trains nothing)."""

    kind: Literal["weight"] = "weight"
    least: float = Field(default=1e-6, ge=0)

    def reject(self, pair: PreferencePair, around: Around) -> str | None:
        return None if pair.weight >= self.least else f"weight {pair.weight:.3g}"
