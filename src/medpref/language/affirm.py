"""What turns "there is no finding" into "there is one", by the cue that denies it.

Where "no" goes and no degree is said, the finding's usual one comes ("no effusion", "a small effusion"): the text stays
as long as it was.
"""

from __future__ import annotations

import re
from itertools import pairwise

from medpref.language.findings import Mention, mentions
from medpref.language.rewrite import Replacement, like
from medpref.language.wording import article, looks_plural

_SAID = ("severity", "size", "count", "nature")
_OPPOSITES = {
    "negative for": "positive for", "free of": "notable for", "absence of": "presence of", "lack of": "presence of",
    "lacks": "shows", "absent": "present", "isn't": "is", "aren't": "are", "doesn't": "does", "unlikely": "likely",
}  # fmt: skip
_ENDINGS = {"ruled out": "confirmed", "excluded": "confirmed", "resolved": "recurred"}
_OR = re.compile(r"\b(?:or|nor)\b")


def affirm(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    """What makes an absent finding present; None for a cue that has no plain opposite (neither, rather than)."""
    assert mention.cue is not None
    start, end = mention.cue
    cue = " ".join(text[start:end].lower().split())
    listed = _listed(text, mention)
    if cue in _OPPOSITES:
        return (Replacement(start, end, like(_OPPOSITES[cue], text, start)), *listed)
    for ending, opposite in _ENDINGS.items():
        if cue.endswith(ending):
            return (Replacement(end - len(ending), end, opposite), *listed)
    if cue.startswith(("not", "no longer")) or re.match(r"no .*\bof$", cue):
        return (*_drop(text, start, 2 if cue.startswith("no longer") else 1), *listed)
    if re.match(r"without .*\bof$", cue):
        return (Replacement(start, start + len("without"), like("with", text, start)), *listed)
    if cue == "without":
        return (Replacement(start, end, like(f"with {_degree(text, end, mention)}".rstrip(), text, start)), *listed)
    return (*_no(text, mention), *listed) if cue == "no" else None


def _drop(text: str, start: int, words: int) -> tuple[Replacement, ...]:
    """The first words of the cue taken out; what follows takes over their capital letter."""
    cut = re.compile(rf"(?:\S+\s+){{{words}}}").match(text, start)
    end = cut.end() if cut else start
    return (Replacement(start, end + 1, like(text[end : end + 1], text, start)),)


def _no(text: str, mention: Mention) -> tuple[Replacement, ...]:
    assert mention.cue is not None
    start, end = mention.cue
    bare = start == 0 or text[:start].rstrip()[-1:] in ".!?;:\n"
    put = _degree(text, end, mention, bare=bare)
    return (Replacement(start, end, like(put, text, start)),) if put else _drop(text, start, 1)


def _degree(text: str, end: int, mention: Mention, *, bare: bool = False) -> str:
    """What stands for "no": an article where the finding takes one, and a degree where none is said."""
    between = text[end : mention.start].split()
    named = mentions(between[0]) if between else ()
    said = bool(named) and named[0].concept.type in _SAID
    concept = mention.concept
    degree = "" if said or concept.degree in ("a", "an") else concept.degree
    counted = concept.count and not looks_plural(text[mention.start : mention.end])
    if not counted or (bare and degree):
        return degree
    return f"{article(degree or (between[0] if between else text[mention.start : mention.end]))} {degree}".rstrip()


def _listed(text: str, mention: Mention) -> tuple[Replacement, ...]:
    """What makes "or" between findings under one negation an "and" when the negation goes."""
    found = mentions(text, ("finding", "device"))
    under = [one for one in found if one.cue is not None and one.cue == mention.cue and one.start > one.cue[0]]
    hits = [_OR.search(text, one.end, other.start) for one, other in pairwise(under)]
    return tuple(Replacement(hit.start(), hit.end(), "and") for hit in hits if hit)
