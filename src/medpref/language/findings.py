"""What a text says about which finding: mentions with polarity, and the attributes said of them.

Knows: negation and uncertainty cues and how far they reach (a clause), in the manner of NegEx.
Does not know: synonyms beyond the lexicon, coreference, or whether what is said is true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from medpref.language.lexicon import Concept, Match, lexicon

Polarity = Literal["present", "absent", "uncertain"]
ATTRIBUTES = ("side", "zone", "severity", "size", "count")
ASSERTED = ("finding", "device")

_SENTENCE = re.compile(r"[.!?;:\n]+(?=\s|$)")
_DEGREE = r"(?:mild|mildly|moderate|severe|small|large|tiny|patchy|minimal|marked|subtle|new)"
_BREAK = re.compile(
    r"\b(?=(?:but|however|although|though|except|aside from|apart from|while|whereas|yet)\b)"
    r"|(?:,|\band)\s+(?=(?:the|there|a|an|with|is|are)\b)"
    rf"|,\s+(?=(?:and\s+)?{_DEGREE}\b(?!.*\b(?:or|nor)\b))",
    re.IGNORECASE,
)
_PSEUDO = re.compile(
    r"\b(?:no|without)\s+(?:(?:interval|significant|appreciable)\s+)*(?:change|increase|decrease|growth)\b|\bnot\s+(?:only|necessarily)\b",
    re.IGNORECASE,
)
_SEEN = r"(?:seen|present|identified|visible|noted|evident|visuali[sz]ed|demonstrated|observed|apparent|detected|found|appreciated)"
_ABSENT_BEFORE = re.compile(
    r"\b(?:no(?:\s+(?:definite|clear|convincing))?\s+(?:evidence|signs?)\s+of|without\s+(?:evidence|signs?)\s+of|no|not|without"
    r"|negative\s+for|free\s+of|absence\s+of|lack\s+of|lacks|never|neither|nor|rather\s+than|instead\s+of|isn't|aren't|doesn't"
    r"|unlikely)\b",
    re.IGNORECASE,
)
_ABSENT_AFTER = re.compile(
    rf"\b(?:(?:not|no\s+longer)\s+(?:\w+\s+)?{_SEEN}|absent|(?:been\s+|is\s+|are\s+)(?:ruled\s+out|excluded|resolved)|has\s+resolved"
    r"|have\s+resolved|unlikely)\b",
    re.IGNORECASE,
)
_UNSURE_BEFORE = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|may|might|could|suspected|suspicious\s+for|suspicion\s+of|questionable|question\s+of"
    r"|concern(?:ing)?\s+for|likely|suggest(?:s|ive|ing)?(?:\s+of)?|cannot\s+(?:exclude|rule\s+out)|rule\s+out|evaluate\s+for"
    r"|versus|vs|if|equivocal|maybe|perhaps|presumed)\b",
    re.IGNORECASE,
)
_UNSURE_AFTER = re.compile(
    r"\b(?:is|are)\s+(?:possible|suspected|questionable|likely|probable)\b|\b(?:cannot|can\s+not)\s+be\s+(?:excluded|ruled\s+out)\b"
    r"|\bnot\s+excluded\b|\b(?:versus|vs)\b",
    re.IGNORECASE,
)
_INSIDE = re.compile(r"\b(?:not|no)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Mention:
    """A concept named in a text (half-open characters), what is said of it, and the cue that negates it, if one does."""

    concept: Concept
    match: Match
    start: int
    end: int
    polarity: Polarity
    clause: tuple[int, int]
    cue: tuple[int, int] | None = None


@dataclass(frozen=True)
class Statement:
    """A finding or device, its polarity, and its attributes by type (side, zone, severity, size, count)."""

    finding: str
    polarity: Polarity
    attributes: Mapping[str, str] = field(default_factory=dict)


def sentences(text: str) -> list[tuple[int, int]]:
    """Half-open character ranges of a text's sentences, end marks included."""
    cuts = [0, *(match.end() for match in _SENTENCE.finditer(text)), len(text)]
    return [(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if text[a:b].strip()]


def clauses(text: str) -> list[tuple[int, int]]:
    """Half-open ranges within which a negation reaches: sentences, cut at contrasts and at new statements."""
    found = []
    for start, end in sentences(text):
        inner = [match.start() for match in _BREAK.finditer(text, start, end) if match.start() > start]
        cuts = [start, *inner, end]
        found += [(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if b > a]
    return found


@lru_cache(maxsize=16384)
def mentions(text: str, kinds: tuple[str, ...] = ()) -> tuple[Mention, ...]:
    """Every lexicon concept a text names (of the given types, or all), in order, with its polarity.

    >>> [(m.concept.name, m.polarity) for m in mentions("No effusion, but mild cardiomegaly.", ("finding",))]
    [('pleural effusion', 'absent'), ('cardiomegaly', 'present')]
    """
    if kinds:
        return tuple(mention for mention in mentions(text) if mention.concept.type in kinds)
    ranges = clauses(text)
    read = []
    for match in lexicon().matches(text):
        concept = match.form.concept
        clause = next((one for one in ranges if one[0] <= match.start < one[1]), (0, len(text)))
        polarity, cue = _polarity(text, match, clause)
        read.append(Mention(concept, match, match.start, match.end, polarity, clause, cue))
    return tuple(read)


def _polarity(text: str, match: Match, clause: tuple[int, int]) -> tuple[Polarity, tuple[int, int] | None]:
    before, after = (clause[0], match.start), (match.end, clause[1])
    unsure = _UNSURE_BEFORE.search(text, *before) or _UNSURE_AFTER.search(text, *after)
    if unsure:
        return "uncertain", unsure.span()
    cue = _last_absent(text, *before) or _span(_ABSENT_AFTER.search(text, *after))
    inside = _INSIDE.search(text, match.start, match.end)
    if inside:
        cue = inside.span()
    absent = (cue is not None) != match.form.denies
    return ("absent" if absent else "present"), cue


def _last_absent(text: str, start: int, end: int) -> tuple[int, int] | None:
    pseudo = [hit.span() for hit in _PSEUDO.finditer(text)]
    cues = [hit.span() for hit in _ABSENT_BEFORE.finditer(text, start, end)]
    real = [cue for cue in cues if not any(a <= cue[0] < b for a, b in pseudo)]
    return real[-1] if real else None


def _span(hit: re.Match[str] | None) -> tuple[int, int] | None:
    return hit.span() if hit else None


@lru_cache(maxsize=16384)
def statements(text: str) -> tuple[Statement, ...]:
    """What a text asserts or denies, finding by finding, with the attributes said of each.

    An attribute belongs to the finding that follows it in its clause, else to the one before it.

    >>> statements("Small left pleural effusion.")[0].attributes
    {'size': 'small', 'side': 'left'}
    """
    read = mentions(text)
    subjects = [mention for mention in read if mention.concept.type in ASSERTED]
    owned: dict[int, dict[str, str]] = {subject.start: {} for subject in subjects}
    for mention in read:
        if mention.concept.type in ATTRIBUTES:
            subject = owner(mention, subjects)
            if subject is not None:
                owned[subject.start].setdefault(mention.concept.type, mention.concept.name)
    return tuple(Statement(one.concept.name, one.polarity, owned[one.start]) for one in subjects)


def owner(mention: Mention, subjects: Sequence[Mention]) -> Mention | None:
    """The finding or device that an attribute is said of, or None."""
    near = [one for one in subjects if one.clause == mention.clause]
    around = [one for one in near if one.start <= mention.start < one.end]
    if around:
        return around[0]
    following = [one for one in near if one.start >= mention.end]
    preceding = [one for one in near if one.end <= mention.start]
    return following[0] if following else (preceding[-1] if preceding else None)


def polarities(text: str) -> dict[str, Polarity]:
    """Each finding or device a text speaks of and what it says of it; an assertion anywhere outweighs a denial."""
    rank = {"absent": 0, "uncertain": 1, "present": 2}
    found: dict[str, Polarity] = {}
    for one in statements(text):
        held = found.get(one.finding)
        if held is None or rank[one.polarity] > rank[held]:
            found[one.finding] = one.polarity
    return found
