"""What a text says about which finding: mentions with polarity, and the attributes said of them.

Knows: negation and uncertainty cues and how far they reach (a clause), in the manner of NegEx.
Does not know: synonyms beyond the lexicon, coreference, or whether what is said is true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from medpref.language import cues
from medpref.language.attach import chains, holder
from medpref.language.lexicon import Concept, Match, lexicon
from medpref.language.wording import looks_plural

Polarity = Literal["present", "absent", "uncertain"]
ATTRIBUTES = ("side", "zone", "severity", "size", "count")
ASSERTED = ("finding", "device")


@dataclass(frozen=True)
class Mention:
    """A concept named in a text (half-open characters), what is said of it, and the cue that denies it, if one does."""

    concept: Concept
    match: Match
    start: int
    end: int
    polarity: Polarity
    clause: tuple[int, int]
    cue: tuple[int, int] | None = None

    @property
    def counted(self) -> bool:
        """Whether the words take an article: "a bleed", but "hemorrhage" and "pleural effusions"."""
        if self.match.plural or looks_plural(self.match.form.text):
            return False
        return self.concept.count != (self.match.form.text in self.concept.uncounted)


@dataclass(frozen=True)
class Statement:
    """A finding or device, its polarity, and its attributes by type (side, zone, severity, size, count)."""

    finding: str
    polarity: Polarity
    attributes: Mapping[str, str] = field(default_factory=dict)


def sentences(text: str) -> list[tuple[int, int]]:
    """Half-open character ranges of a text's sentences, end marks included."""
    cuts = [0, *(match.end() for match in cues.SENTENCE.finditer(text)), len(text)]
    return [(a, b) for a, b in pairwise(cuts) if text[a:b].strip()]


def clauses(text: str) -> list[tuple[int, int]]:
    """Half-open ranges within which a negation reaches: sentences, cut at contrasts and at new statements."""
    found = []
    for start, end in sentences(text):
        inner = [match.start() for match in cues.BREAK.finditer(text, start, end) if match.start() > start]
        cuts = [start, *inner, end]
        found += [(a, b) for a, b in pairwise(cuts) if b > a]
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
    unsure = cues.UNSURE_BEFORE.search(text, *before) or cues.UNSURE_AFTER.search(text, *after)
    if unsure:
        return "uncertain", unsure.span()
    after_it = cues.ABSENT_AFTER.search(text, *after)
    cue = _last_absent(text, *before) or (after_it.span() if after_it else None)
    inside = cues.INSIDE.search(text, match.start, match.end)
    if inside:
        cue = inside.span()
    absent = (cue is not None) != match.form.denies
    return ("absent" if absent else "present"), cue


def _last_absent(text: str, start: int, end: int) -> tuple[int, int] | None:
    pseudo = [hit.span() for hit in cues.PSEUDO.finditer(text)]
    denials = [hit.span() for hit in cues.ABSENT_BEFORE.finditer(text, start, end)]
    real = [cue for cue in denials if not any(a <= cue[0] < b for a, b in pseudo)]
    return real[-1] if real else None


@lru_cache(maxsize=16384)
def statements(text: str) -> tuple[Statement, ...]:
    """What a text asserts or denies, finding by finding, with the attributes said of each.

    Which attribute belongs to which finding is `attach.holder`'s rule; "left and right" is both sides.

    >>> statements("Small left pleural effusion.")[0].attributes
    {'size': 'small', 'side': 'left'}
    """
    read = mentions(text)
    subjects = [mention for mention in read if mention.concept.type in ASSERTED]
    owned: dict[int, dict[str, str]] = {subject.start: {} for subject in subjects}
    for group in chains(text, [m for m in read if m.concept.type in ATTRIBUTES], subjects):
        subject = holder(text, group, subjects)
        if subject is not None:
            for kind, name in _said(group).items():
                owned[subject.start].setdefault(kind, name)
    return tuple(Statement(one.concept.name, one.polarity, owned[one.start]) for one in subjects)


def _said(group: Sequence[Mention]) -> dict[str, str]:
    """The attributes of a group by type: the first of each, and both sides where left and right are named."""
    said: dict[str, str] = {}
    for mention in group:
        said.setdefault(mention.concept.type, mention.concept.name)
    sides = {mention.concept.name for mention in group if mention.concept.type == "side"}
    return {**said, "side": "both"} if sides >= {"left", "right"} else said


def owner(text: str, mention: Mention, subjects: Sequence[Mention]) -> Mention | None:
    """The finding or device that an attribute is said of, or None."""
    groups = chains(text, [m for m in mentions(text) if m.concept.type in ATTRIBUTES], subjects)
    group = next((one for one in groups if mention in one), (mention,))
    return holder(text, group, subjects)


def polarities(text: str) -> dict[str, Polarity]:
    """Each finding or device a text speaks of and what it says of it; an assertion anywhere outweighs a denial."""
    rank = {"absent": 0, "uncertain": 1, "present": 2}
    found: dict[str, Polarity] = {}
    for one in statements(text):
        held = found.get(one.finding)
        if held is None or rank[one.polarity] > rank[held]:
            found[one.finding] = one.polarity
    return found
