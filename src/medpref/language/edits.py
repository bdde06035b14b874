"""Small clinical edits of a text: each changes one thing (its type) and names the characters it changes.

Knows: the lexicon's confusable partners and presence flips. Does not know: which statement is true; the caller decides
whether an edit makes a reply right or wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medpref.language.findings import ASSERTED, Mention, mentions, owner, sentences
from medpref.language.lexicon import Concept, lexicon
from medpref.language.presence import flip_decision, flip_lead, flip_presence
from medpref.language.rewrite import Replacement, replace
from medpref.language.substitute import put, takes_number, written

TYPES = (
    "presence", "side", "finding", "organ", "zone", "severity", "size", "count", "normality", "device", "change",
    "nature", "density", "modality", "sequence", "contrast", "plane",
)  # fmt: skip
PREFERRED: Mapping[str, tuple[str, ...]] = {
    "presence": ("presence", "normality", "finding", "device"),
    "side": ("side",),
    "zone": ("zone", "side", "organ"),
    "severity": ("severity", "size"),
    "count": ("count",),
    "abnormality": ("finding", "normality", "side", "organ", "nature", "presence"),
    "view": ("plane",),
    "plane": ("plane",),
    "device": ("device", "presence"),
    "modality": ("modality", "sequence", "contrast"),
    "organ": ("side", "organ", "zone"),
    "report": ("presence", "side", "severity", "size", "zone", "normality", "finding", "device"),
    "region": ("finding", "presence", "normality", "side", "zone"),
    "compare": ("change", "presence", "severity", "size", "side"),
}

_NOUN_AFTER = re.compile(r"\s+(?!(?:and|or|is|are|in|of|on|with|at|to|by|as|shows?|appears?)\b)[a-z]", re.IGNORECASE)
_LIGHT = frozenset({"a", "an", "the", "of", "in", "on", "and", "or", "with", "side", "lobe", "zone", "left", "right"})


@dataclass(frozen=True)
class Edit:
    """One clinical change.

    Its type, what changes in the old text, the new text, how close the error is (0 to 1), the concept that changes, and
    in which sentence it stands (from 0).
    """

    type: str
    changes: tuple[Replacement, ...]
    text: str
    closeness: float
    concept: str = ""
    place: int = 0

    @property
    def span(self) -> tuple[int, int]:
        """The half-open characters of the old text from the first change to the last."""
        return min(change.start for change in self.changes), max(change.end for change in self.changes)


def edits(text: str, types: Iterable[str] = TYPES) -> tuple[Edit, ...]:
    """Every single edit of the given types, in order of the types, then of the text, the closest partner first.

    >>> [e.text for e in edits("Small left effusion.", ("side", "size"))]
    ['Small right effusion.', 'Large left effusion.']
    """
    found: dict[str, Edit] = {}
    for kind in types:
        for edit in _presence(text) if kind == "presence" else _swaps(text, kind):
            found.setdefault(edit.text, edit)
    found.pop(text, None)
    return tuple(found.values())


def preferred(text: str, kind: str) -> tuple[Edit, ...]:
    """Every edit of a text, those that fit the question kind first."""
    first = PREFERRED.get(kind, TYPES)
    return edits(text, (*first, *(other for other in TYPES if other not in first)))


def _swaps(text: str, kind: str) -> list[Edit]:
    read = mentions(text)
    named = {mention.concept.name for mention in read}
    found = []
    for mention in read:
        if mention.concept.type != kind or mention.match.form.denies or _inert(text, mention):
            continue
        for rank, partner in enumerate(_partners(text, mention)):
            free = partner.name not in named or kind == "side"
            alike = _takes_same_article(text, mention, partner) and takes_number(text, mention, partner)
            if free and alike and not _echoes(text, mention, partner):
                found.append(_edit(kind, text, put(text, mention, partner), 1.0 / (1 + rank), mention.concept.name))
    return found


def _echoes(text: str, mention: Mention, partner: Concept) -> bool:
    """Whether the partner would repeat a word that stands close by ("white versus white matter")."""
    before, after = text[: mention.start].lower(), text[mention.end :].lower()
    near = {*re.findall(r"\w+", before)[-3:], *re.findall(r"\w+", after)[:3]}
    new = set(re.findall(r"\w+", written(mention, partner).lower()))
    return bool((new - set(re.findall(r"\w+", text[mention.start : mention.end].lower()))) & near - _LIGHT)


def _inert(text: str, mention: Mention) -> bool:
    """Exchanging a denied finding, the words of a ``~`` form, or half a name, would not make a plain error."""
    denied = mention.concept.type in ASSERTED and mention.polarity == "absent"
    return mention.match.gap != (0, 0) or denied or _describes(text, mention)


def _describes(text: str, mention: Mention) -> bool:
    """Whether an organ's name is half of another one ("renal pelvis"): another organ has no such part."""
    if mention.concept.type != "organ" or mention.match.plural:
        return False
    first = _is_adjective(mention) and _NOUN_AFTER.match(text, mention.end) is not None
    before = (one for one in mentions(text, ("organ",)) if text[one.end : mention.start] == " ")
    return first or any(_is_adjective(one) for one in before)


def _is_adjective(mention: Mention) -> bool:
    return mention.match.form.index >= len(mention.concept.forms) and not mention.match.plural


def _partners(text: str, mention: Mention) -> tuple[Concept, ...]:
    """The confusable concepts; "moderate" is a size where the finding is graded by size (a small, a large effusion)."""
    subject = owner(text, mention, mentions(text, ASSERTED)) if mention.concept.name == "moderate" else None
    if subject is not None and subject.concept.degree == "small":
        return lexicon().get("size", "small"), lexicon().get("size", "large")
    return lexicon().partners(mention.concept)


def _takes_same_article(text: str, mention: Mention, partner: Concept) -> bool:
    """Not "a small atelectasis" for "a small effusion": after an article, counted words replace counted ones."""
    if mention.match.plural and partner.type == "finding" and not partner.count:
        return False
    phrase = re.search(r"\b(?:a|an)\s+(?:[\w-]+\s+){0,3}$", text[: mention.start], re.IGNORECASE)
    return phrase is None or mention.concept.count == partner.count or mention.concept.type != "finding"


def _edit(kind: str, text: str, changes: tuple[Replacement, ...], closeness: float, concept: str = "") -> Edit:
    place = sum(end <= changes[0].start for _, end in sentences(text))
    return Edit(kind, changes, replace(text, changes), closeness, concept, place)


def _presence(text: str) -> list[Edit]:
    if flip_lead(text):
        turned = flip_decision(text)
        return [_edit("presence", text, turned, 1.0)] if turned else []
    found = []
    for mention in mentions(text, ASSERTED):
        changes = flip_presence(text, mention)
        if changes:
            found.append(_edit("presence", text, changes, 1.0, mention.concept.name))
    return found
