"""Edits that turn "there is" into "there is not" and back, by the cue that says so.

Knows: the negation cues of ``findings``. Does not know: grammar beyond the noun phrase around a mention; where it
cannot make a sound sentence it returns None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from medpref.language.findings import Mention, mentions
from medpref.language.wording import article, looks_plural

_DEGREES = ("severity", "size", "count")
_KEPT = ("side", "zone", "nature", "change", "density")
_ARTICLE = re.compile(r"\b(a|an|the|some|any)\s+$", re.IGNORECASE)
_WITH = re.compile(r"\b(with)\s+$", re.IGNORECASE)
_BE = re.compile(r"\s+(is|are|was|were)\b(?!\s+not\b)", re.IGNORECASE)
_IS_SEEN = re.compile(
    r"\s+(is|are|was|were)\b(?=\s+(?:\w+ly\s+)?(?:seen|present|visible|noted|identified|evident|visuali[sz]ed|observed|in place|there)\b)",
    re.IGNORECASE,
)
_NORMAL = re.compile(r"\b(?:normal in size|within normal limits|normal|clear|sharp|midline)\b", re.IGNORECASE)
_OPPOSITES = {
    "negative for": "positive for", "free of": "notable for", "absence of": "presence of", "lack of": "presence of",
    "lacks": "shows", "absent": "present", "isn't": "is", "aren't": "are", "doesn't": "does", "unlikely": "likely",
}  # fmt: skip
_ENDINGS = {"ruled out": "confirmed", "excluded": "confirmed", "resolved": "recurred"}
_LEAD = re.compile(r"^(\W*)(yes|no)\b(?=\s*(?:[.,;:!—–-]|$)|\s+(?:there|the|it|this|i)\b)", re.IGNORECASE)
_OR = re.compile(r"\b(?:or|nor)\b")


class Replacement(NamedTuple):
    """Characters ``[start, end)`` of a text that become ``after``."""

    start: int
    end: int
    after: str


def replace(text: str, changes: Sequence[Replacement]) -> str:
    """The text with all replacements made (they may not overlap); a new beginning keeps its capital letter."""
    for change in sorted(changes, reverse=True):
        text = text[: change.start] + change.after + text[change.end :]
    return text


def flip_presence(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    """What makes a present finding absent, or an absent one present; None where no sound sentence results."""
    if mention.polarity == "uncertain":
        return None
    if mention.match.form.denies and mention.cue is None:
        return _break_norm(text, mention)
    return _deny(text, mention) if mention.cue is None else _assert(text, mention)


def _break_norm(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    hit = _NORMAL.search(text, mention.start, mention.end)
    if hit is None or not mention.concept.opposite:
        return None
    return (Replacement(hit.start(), hit.end(), _like(mention.concept.opposite, text, hit.start())),)


def _deny(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    if mention.match.gap != (0, 0):
        be = _BE.search(text, mention.start, mention.end)
        return (Replacement(be.end(), be.end() + _degree_length(text, be.end()), " not"),) if be else None
    kept, start = _phrase(text, mention)
    article_before = _ARTICLE.search(text, 0, start)
    if article_before and article_before.group(1).lower() == "the":
        be = _IS_SEEN.match(text, mention.end)
        return (Replacement(be.end(), be.end(), " not"),) if be else None
    start = article_before.start() if article_before else start
    led = _WITH.search(text, 0, start)
    if led:
        return (Replacement(led.start(), kept, "without "),)
    return (Replacement(start, kept, _like("no ", text, start)), *_lower_next(text, start, kept))


def _phrase(text: str, mention: Mention) -> tuple[int, int]:
    """``(kept, start)``: where the words to keep begin (after degrees), and where the noun phrase begins."""
    kept = start = mention.start
    near = [other for other in mentions(text) if other.end <= mention.start]
    for other in reversed(near):
        if text[other.end : start].strip() or other.concept.type not in _DEGREES + _KEPT:
            break
        start = other.start
        if other.concept.type in _KEPT and kept == other.end + len(text[other.end : kept]):
            kept = other.start
    return kept, start


def _degree_length(text: str, start: int) -> int:
    hit = re.match(r"\s+(?:mildly|moderately|severely|markedly|slightly|minimally)\b", text[start:], re.IGNORECASE)
    return hit.end() if hit else 0


def _assert(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    assert mention.cue is not None
    start, end = mention.cue
    cue = " ".join(text[start:end].lower().split())
    listed = _joined(text, mention)
    if cue in _OPPOSITES:
        return (Replacement(start, end, _like(_OPPOSITES[cue], text, start)), *listed)
    for ending, opposite in _ENDINGS.items():
        if cue.endswith(ending):
            return (Replacement(end - len(ending), end, opposite), *listed)
    if cue.startswith(("no longer", "not")):
        length = len(cue.split()[0]) if cue.startswith("not") else len("no longer")
        return (Replacement(start, start + length + _space(text, start + length), ""), *listed)
    if cue.startswith("without"):
        return (Replacement(start, end, _like(f"with {_degree(text, end, mention)}".rstrip(), text, start)), *listed)
    if cue == "no" or cue.startswith("no "):
        return _assert_no(text, mention, listed)
    return None


def _assert_no(text: str, mention: Mention, listed: tuple[Replacement, ...]) -> tuple[Replacement, ...]:
    assert mention.cue is not None
    start, end = mention.cue
    bare = start == 0 or text[:start].rstrip()[-1:] in ".!?;:\n"
    put = _degree(text, end, mention, bare=bare)
    if put:
        return (Replacement(start, end, _like(put, text, start)), *listed)
    end += _space(text, end)
    return (Replacement(start, end + 1, _like(text[end], text, start)), *listed)


def _degree(text: str, end: int, mention: Mention, *, bare: bool = False) -> str:
    """What stands for "no": an article where the finding takes one, and a degree where none is said."""
    following = text[end : mention.start].strip()
    first = following.split()[0] if following else ""
    named = mentions(first)
    said = bool(named) and named[0].concept.type in (*_DEGREES, "nature")
    concept = mention.concept
    degree = "" if said or concept.degree in ("a", "an") else concept.degree
    counted = concept.count and not looks_plural(text[mention.start : mention.end])
    if not counted or (bare and degree):
        return degree
    head = degree or first or text[mention.start : mention.end]
    return f"{article(head)} {degree}".rstrip()


def _joined(text: str, mention: Mention) -> tuple[Replacement, ...]:
    """ "or" between findings under one negation becomes "and" when the negation goes."""
    under = [m for m in mentions(text, ("finding", "device")) if m.cue == mention.cue]
    spaces = zip(under, under[1:], strict=False)
    hits = [_OR.search(text, one.end, other.start) for one, other in spaces]
    return tuple(Replacement(hit.start(), hit.end(), "and") for hit in hits if hit)


def _space(text: str, end: int) -> int:
    return len(text[end:]) - len(text[end:].lstrip())


def _like(word: str, text: str, start: int) -> str:
    return word[:1].upper() + word[1:] if text[start : start + 1].isupper() else word


def _lower_next(text: str, start: int, kept: int) -> tuple[Replacement, ...]:
    """Lower the capital of the word that "No" is put before, unless it is an abbreviation."""
    if kept != start or not text[kept : kept + 1].isupper() or text[kept + 1 : kept + 2].isupper():
        return ()
    return (Replacement(kept, kept + 1, text[kept].lower()),)


def flip_lead(text: str) -> tuple[Replacement, ...]:
    """Yes for no and no for yes at the beginning of a reply; empty where it begins with neither."""
    hit = _LEAD.match(text)
    if hit is None:
        return ()
    said = hit.group(2)
    other = "no" if said.lower() == "yes" else "yes"
    spelled = other.upper() if said.isupper() else (other.capitalize() if said[0].isupper() else other)
    return (Replacement(hit.start(2), hit.end(2), spelled),)
