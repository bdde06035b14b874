"""The clinical word list as values: concepts by type, their surface forms, and what they are confused with.

Knows: ``lexicon.yaml``. Does not know: negation (``findings``), nor how a text is edited (``edits``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from medpref.errors import DataError, nearest

LISTS = ("forms", "also", "swaps", "denied", "uncounted", "ungraded")


@dataclass(frozen=True)
class Concept:
    """One clinical idea: its name, type, surface forms (preferred first) and confusable partners (closest first).

    ``uncounted`` forms differ from ``count`` in taking an article; ``ungraded`` ones take no degree. ``within`` is the
    larger concept of its type that it is a part of.
    """

    name: str
    type: str
    forms: tuple[str, ...]
    also: tuple[str, ...] = ()
    swaps: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    degree: str = "mild"
    count: bool = False
    plural: str = ""
    opposite: str = ""
    uncounted: tuple[str, ...] = ()
    ungraded: tuple[str, ...] = ()
    within: str = ""


@dataclass(frozen=True)
class Form:
    """One surface form: its concept, its place among the concept's forms, its usual spelling, whether it denies."""

    concept: Concept
    index: int
    text: str
    denies: bool = False


@dataclass(frozen=True)
class Match:
    """Where a form stands in a text: half-open characters; ``gap`` is what stands for the ``~``, free for others."""

    form: Form
    start: int
    end: int
    plural: bool
    gap: tuple[int, int] = (0, 0)


class Lexicon:
    """All concepts, and one pattern that finds the longest form at each place of a text."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.consequence: dict[str, float] = dict(raw["consequence"])
        self.parallel = frozenset(raw["parallel"])
        kinds = [key for key in raw if key not in ("consequence", "parallel")]
        self.concepts = {
            (kind, name): _concept(kind, name, fields) for kind in kinds for name, fields in raw[kind].items()
        }
        self._forms = [form for concept in self.concepts.values() for form in _forms(concept)]
        self._exact = {form.text.lower(): form for form in reversed(self._forms) if "~" not in form.text}
        self._gapped = [(_gapped(form.text), form) for form in self._forms if "~" in form.text]
        spelled = sorted(self._exact, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, spelled))})(e?s)?(?!\w)", re.IGNORECASE)
        self._check()

    def _check(self) -> None:
        for (kind, name), concept in self.concepts.items():
            for partner in (*concept.swaps, *([concept.within] if concept.within else [])):
                if (kind, partner) not in self.concepts:
                    known = [other for other_kind, other in self.concepts if other_kind == kind]
                    raise DataError(
                        f"lexicon {kind}/{name}", given=f"swap or whole {partner!r}", expected="a concept of its type",
                        todo=nearest(partner, known),
                    )  # fmt: skip

    def get(self, kind: str, name: str) -> Concept:
        """The concept of a type and name."""
        return self.concepts[kind, name]

    def related(self, one: Concept, other: Concept) -> bool:
        """Whether one concept is a part of the other, to any depth."""
        return other.name in self._wholes(one) or one.name in self._wholes(other)

    def has_parts(self, concept: Concept) -> bool:
        """Whether another concept is within this one."""
        return any(one.within == concept.name and one.type == concept.type for one in self.concepts.values())

    def _wholes(self, concept: Concept) -> list[str]:
        found: list[str] = []
        while concept.within and concept.within not in found:
            found.append(concept.within)
            concept = self.concepts[concept.type, concept.within]
        return found

    def partners(self, concept: Concept) -> tuple[Concept, ...]:
        """The concepts it is confused with, the closest first."""
        return tuple(self.concepts[concept.type, name] for name in concept.swaps)

    def matches(self, text: str) -> list[Match]:
        """Every non-overlapping form in a text, from left to right, the longest first at each place."""
        found: list[Match] = []
        for pattern, form in self._gapped:
            found += [Match(form, hit.start(), hit.end(), False, hit.span(1)) for hit in pattern.finditer(text)]
        gapped = _without_overlap(found)
        taken = [part for match in gapped for part in ((match.start, match.gap[0]), (match.gap[1], match.end))]
        for hit in self._pattern.finditer(text):
            if hit.group(1).isdigit() and _in_a_code(text, hit.start(), hit.end()):
                continue
            if all(hit.end() <= start or hit.start() >= end for start, end in taken):
                form = self._exact[hit.group(1).lower()]
                gapped.append(Match(form, hit.start(), hit.end(), bool(hit.group(2))))
        return sorted(gapped, key=lambda match: match.start)


@cache
def lexicon() -> Lexicon:
    """The shipped lexicon (read once)."""
    text = files("medpref.language").joinpath("lexicon.yaml").read_text(encoding="utf-8")
    return Lexicon(yaml.safe_load(text))


def _concept(kind: str, name: str, fields: Mapping[str, Any]) -> Concept:
    listed = {key: tuple(map(str, fields.get(key, ()))) for key in LISTS}
    return Concept(
        str(name), kind, **listed, degree=str(fields.get("degree", "mild")), count=bool(fields.get("count", False)),
        plural=str(fields.get("plural", "")), opposite=str(fields.get("opposite", "")),
        within=str(fields.get("within", "")),
    )  # fmt: skip


def _forms(concept: Concept) -> list[Form]:
    said = [Form(concept, index, text) for index, text in enumerate(concept.forms + concept.also)]
    return said + [Form(concept, 0, text, denies=True) for text in concept.denied]


def _gapped(form: str) -> re.Pattern[str]:
    parts = [re.escape(part.strip()) for part in form.split("~")]
    body = r"((?:\s+(?!from\b)[\w-]+){0,3}\s+)".join(parts)
    return re.compile(rf"(?<!\w){body}(?!\w)", re.IGNORECASE)


def _in_a_code(text: str, start: int, end: int) -> bool:
    """Whether digits are part of something else than a count: L2-3, 4.5, 3/6."""
    return text[start - 1 : start] in tuple("-./") or bool(re.match(r"[-./%]\w|%", text[end:]))


def _without_overlap(found: list[Match]) -> list[Match]:
    kept: list[Match] = []
    for match in sorted(found, key=lambda match: (match.start, match.start - match.end)):
        if not kept or match.start >= kept[-1].end:
            kept.append(match)
    return kept
