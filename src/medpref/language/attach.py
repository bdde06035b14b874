"""Which of several findings an attribute is said of: ranges of characters in, a range out.

Knows: prepositions, copulas and the words that keep two phrases apart. Does not know: grammar beyond these, nor what
an attribute means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, TypeVar


class Place(Protocol):
    """A half-open range of characters, and the range of the clause that it stands in."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def clause(self) -> tuple[int, int]: ...


P = TypeVar("P", bound=Place)
S = TypeVar("S", bound=Place)

APART = re.compile(
    r"[,;()]|\b(?:and|or|nor|with|without|plus|no|not|but|than|versus|next|adjacent|addition|well|beside|near|overlying"
    r"|obscur\w+|accompan\w+|associated|caus\w+|that|which|compared)\b",
    re.IGNORECASE,
)
LEADS = re.compile(
    r"\b(?:in|at|on|of|within|involving|over|along|throughout|about)\s+(?:(?:the|both|either)\s+)?$", re.IGNORECASE
)
IS = re.compile(
    r"(?<!\bthere\s)\b(?:is|are|was|were|appears?|seems?|remains?|looks?)\s+"
    r"(?:to\s+be\s+)?(?:(?:now|very|more|most|\w+ly)\s+)*$",
    re.IGNORECASE,
)
LED = re.compile(r"on\b|\w+ly$", re.IGNORECASE)
NAMED = re.compile(r"\b(?:zone|side|base|apex|hilum)$", re.IGNORECASE)
LINK = re.compile(r"\s*(?:,|/|&|,?\s*and)\s*(?:(?:in|on|at)\s+)?(?:the\s+)?", re.IGNORECASE)


def chains(text: str, attributes: Sequence[P], subjects: Sequence[S]) -> list[tuple[P, ...]]:
    """The attributes in groups that are said of one subject: "left and right", "severe, left upper".

    An "and" or a comma does not link two where the first is already said of a finding before it and another finding
    follows the second at once ("effusion on the left and right nodule").
    """
    found: list[tuple[P, ...]] = []
    for run in _runs(text, attributes):
        if found and _linked(text, found[-1], run, subjects):
            found[-1] = (*found[-1], *run)
        else:
            found.append(run)
    return found


def _runs(text: str, attributes: Sequence[P]) -> list[tuple[P, ...]]:
    """Attributes with nothing but blanks and hyphens between them."""
    runs: list[tuple[P, ...]] = [(attributes[0],)] if attributes else []
    for one, other in pairwise(attributes):
        close = one.clause == other.clause and not text[one.end : other.start].strip(" -")
        runs = [*runs[:-1], (*runs[-1], other)] if close else [*runs, (other,)]
    return runs


def _linked(text: str, first: Sequence[P], second: Sequence[P], subjects: Sequence[S]) -> bool:
    between = text[first[-1].end : second[0].start]
    if first[-1].clause != second[0].clause or not LINK.fullmatch(between):
        return False
    before, _ = _around(first, subjects)
    _, after = _around(second, subjects)
    held = before is not None and (
        not APART.search(gap := text[before.end : first[0].start])
        or (gap.strip() == "," and NAMED.search(text[: first[-1].end]) is not None)
    )
    taken = after is not None and not APART.search(text[second[-1].end : after.start])
    return not (held and taken)


def _around(group: Sequence[P], subjects: Sequence[S]) -> tuple[S | None, S | None]:
    """The last subject before a group and the first after it, in its clause."""
    near = [one for one in subjects if one.clause == group[0].clause]
    before = [one for one in near if one.end <= group[0].start]
    after = [one for one in near if one.start >= group[-1].end]
    return (before[-1] if before else None), (after[0] if after else None)


def holder(text: str, group: Sequence[P], subjects: Sequence[S]) -> S | None:
    """The subject that a group of attributes is said of, or None where its clause has none.

    The one it stands inside of; else the one before where something keeps it from the one after; else the one after
    where something keeps it from the one before; else a preposition or "is" ties it to the one before, and a bare
    attribute belongs to the one after.

    >>> from types import SimpleNamespace as At
    >>> text = "effusion on the left with nodule"
    >>> effusion, left, nodule = (At(start=a, end=b, clause=(0, 32)) for a, b in ((0, 8), (9, 20), (26, 32)))
    >>> holder(text, [left], [effusion, nodule]).start
    0
    """
    inside = [one for one in subjects if one.start <= group[0].start and group[-1].end <= one.end]
    if inside:
        return inside[0]
    before, after = _around(group, subjects)
    if before is None or after is None:
        return before or after
    if APART.search(text[group[-1].end : after.start]):
        return before
    gap = text[before.end : group[0].start]
    if APART.search(gap):
        return after
    tied = LEADS.search(gap) or IS.search(gap) or LED.match(text[group[0].start : group[0].end])
    return before if tied else after
