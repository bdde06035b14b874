"""What turns "there is no finding" into "there is one", by the cue that denies it.

Where "no" goes and no degree is said, the finding's usual one comes ("no effusion", "a small effusion"): the text stays
as long as it was.
"""

from __future__ import annotations

import re
from itertools import pairwise

from medpref.language.findings import Mention, mentions
from medpref.language.negation import without_not
from medpref.language.rewrite import Replacement, like
from medpref.language.wording import article, with_article

_SAID = ("severity", "size", "count", "nature")
_OPPOSITES = {
    "negative for": "positive for", "free of": "notable for", "absence of": "presence of", "lack of": "presence of",
    "lacks": "shows", "rules out": "shows", "ruled out": "showed", "inconsistent with": "consistent with",
    "absent": "present", "isn't": "is", "aren't": "are", "doesn't": "does", "unlikely": "likely",
}  # fmt: skip
_ENDINGS = {"ruled out": "confirmed", "excluded": "confirmed", "resolved": "recurred"}
_PART = re.compile(r"\b(?:of|in|from|with)\b")
_OR = re.compile(r"\b(?:or|nor)\b")


def affirm(text: str, mention: Mention, *, graded: bool = True) -> tuple[Replacement, ...] | None:
    """What makes an absent finding present; None for a cue that has no plain opposite (neither, rather than).

    ``graded`` puts in the finding's usual degree where none is said.
    """
    assert mention.cue is not None
    start, end = mention.cue
    cue = " ".join(text[start:end].lower().split())
    listed = _listed(text, mention)
    if cue in _OPPOSITES:
        begin, turned = with_article(text, start, like(_OPPOSITES[cue], text, start))
        return (Replacement(begin, end, turned), *listed)
    for ending, opposite in _ENDINGS.items():
        if cue.endswith(ending):
            return (Replacement(end - len(ending), end, opposite), *listed)
    aided = without_not(text, max(0, start - 7)) if cue.startswith("not") else ()
    if aided and aided[0].start < start <= aided[0].end:
        return (*_with_article(text, mention, aided), *listed)
    if cue.startswith(("not", "no longer")) or re.match(r"no .*\bof$", cue):
        return (*_drop(text, start, 2 if cue.startswith("no longer") else 1), *listed)
    if re.match(r"without .*\bof$", cue):
        return (Replacement(start, start + len("without"), like("with", text, start)), *listed)
    if cue == "without":
        return (
            Replacement(start, end, like(f"with {_degree(text, end, mention, graded=graded)}".rstrip(), text, start)),
            *listed,
        )
    return (*_no(text, mention, graded=graded), *listed) if cue == "no" else None


def _drop(text: str, start: int, words: int) -> tuple[Replacement, ...]:
    """The first words of the cue taken out; what follows takes over their capital letter."""
    cut = re.compile(rf"(?:\S+\s+){{{words}}}").match(text, start)
    end = cut.end() if cut else start
    return (Replacement(start, end + 1, like(text[end : end + 1], text, start)),)


def _no(text: str, mention: Mention, *, graded: bool) -> tuple[Replacement, ...]:
    assert mention.cue is not None
    start, end = mention.cue
    bare = start == 0 or text[:start].rstrip()[-1:] in ".!?;:\n"
    put = "" if _PART.search(text[end : mention.start]) else _degree(text, end, mention, graded=graded, bare=bare)
    return (Replacement(start, end, like(put, text, start)),) if put else _drop(text, start, 1)


def _with_article(text: str, mention: Mention, moved: tuple[Replacement, ...]) -> tuple[Replacement, ...]:
    """The "any" before a counted finding becomes an article."""
    return tuple(
        Replacement(one.start, one.end, f"{article(text[one.end :])} ")
        if not one.after and mention.counted and not _PART.search(text[one.end : max(one.end, mention.start)])
        else one
        for one in moved
    )


def _degree(text: str, end: int, mention: Mention, *, graded: bool, bare: bool = False) -> str:
    """What stands for "no": an article where the finding takes one, and a degree where none is said."""
    between = text[end : mention.start].split()
    named = mentions(between[0]) if between else ()
    said = bool(named) and named[0].concept.type in _SAID
    concept, form = mention.concept, mention.match.form.text
    usual = graded and not said and concept.degree not in ("a", "an") and form not in concept.ungraded
    degree = concept.degree if usual else ""
    if not mention.counted or (bare and (degree or not graded)):
        return degree
    return f"{article(degree or (between[0] if between else text[mention.start : mention.end]))} {degree}".rstrip()


def _listed(text: str, mention: Mention) -> tuple[Replacement, ...]:
    """What makes "or" between findings under one negation an "and" when the negation goes."""
    found = mentions(text, ("finding", "device"))
    under = [one for one in found if one.cue is not None and one.cue == mention.cue and one.start > one.cue[0]]
    hits = [_OR.search(text, one.end, other.start) for one, other in pairwise(under)]
    return tuple(Replacement(hit.start(), hit.end(), "and") for hit in hits if hit)
