"""What turns "there is a finding" into "there is no finding".

Knows: the noun phrase before a mention, "evidence of", "with", and predicates ("is dilated"). Where it cannot make a
sound sentence it returns None. Does not know: grammar beyond that.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from medpref.language.findings import Mention, mentions
from medpref.language.rewrite import Replacement, like, lowered
from medpref.language.wording import with_article

_DEGREES = ("severity", "size", "count")
_ARTICLES = frozenset({"a", "an", "the", "some", "any"})
_THIS = frozenset({"the", "this", "that", "these", "those", "its", "their"})
_BE = frozenset({"is", "are", "was", "were", "be"})
_BOUNDARY = _ARTICLES | _BE | _THIS | frozenset(
    {
        "been", "being", "there", "has", "have", "had", "show", "shows", "showing", "shown", "demonstrate",
        "demonstrates", "reveal", "reveals", "indicate", "indicates", "suggest", "suggests", "display", "displays",
        "contain", "contains", "exhibit", "exhibits", "see", "seen", "with", "of", "in", "on", "at", "for", "by", "to",
        "from", "and", "or", "nor", "appear", "appears", "seems", "including", "as", "which", "that", "this", "yes",
        "no", "not", "consistent", "represents", "features", "than", "between", "also", "but", "it", "probably",
    }
)  # fmt: skip
_EMPTY = frozenset(
    {
        "significant",
        "clear",
        "visible",
        "definite",
        "subtle",
        "obvious",
        "evident",
        "prominent",
        "noticeable",
        "apparent",
    }
)
_WORD = re.compile(r"[\w'-]+")
_AND = re.compile(r"\s+(and)\s+(?!(?:the|there|an?|is|are)\b)", re.IGNORECASE)
_EVIDENCE = re.compile(
    r"(?:\b(?:a|an|the|some)\s+)?(?:\b(?:clear|definite|significant|large|small|subtle|multiple|obvious)\s+)*"
    r"\b(evidence|signs?|indications?|amounts?)\s+of\s+$",
    re.IGNORECASE,
)
_PRESENCE = re.compile(r"\b(presence)\s+of\s+$", re.IGNORECASE)
_WITH = re.compile(r"\bwith\s+$", re.IGNORECASE)
_BE_INSIDE = re.compile(r"\s+(?:is|are|was|were)\b(?!\s+not\b)", re.IGNORECASE)
_GRADED = re.compile(r"\s+(?:mildly|moderately|severely|markedly|slightly|minimally)\b", re.IGNORECASE)
_IS_SEEN = re.compile(
    r"\s+(?:is|are|was|were)\b(?=\s+(?:\w+ly\s+)?"
    r"(?:seen|present|visible|noted|identified|evident|visuali[sz]ed|observed|in place|there)\b)",
    re.IGNORECASE,
)


class Phrase(NamedTuple):
    """The noun phrase before a mention: where it begins, the words of it to keep, the word before it and its place."""

    start: int
    kept: tuple[str, ...]
    before: str
    before_start: int


def deny(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    """What makes a present finding absent; what is listed after it with "and" goes with it, with "or"."""
    moved = _denied(text, mention)
    joint = _AND.match(text, mention.end)
    said_no = moved and any(re.search(r"\bno\b", one.after, re.IGNORECASE) for one in moved)
    return (*moved, Replacement(joint.start(1), joint.end(1), "or")) if moved and said_no and joint else moved


def _denied(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    if mention.match.gap != (0, 0):
        be = _BE_INSIDE.search(text, mention.start, mention.end)
        graded = _GRADED.match(text, be.end()) if be else None
        return (Replacement(be.end(), graded.end() if graded else be.end(), " not"),) if be else None
    phrase = noun_phrase(text, mention)
    start = phrase.before_start if phrase.before in _ARTICLES else phrase.start
    seen = _IS_SEEN.match(text, mention.end)
    if seen and (phrase.before in _THIS or _begins(text, mention, phrase, start)):
        return (Replacement(seen.end(), seen.end(), " not"),)
    if phrase.before in ("and", "or") and not _listed(text, phrase):
        return None
    if phrase.before in _THIS:
        return None
    kept = "".join(f"{word} " for word in phrase.kept)
    there = _PRESENCE.search(text, mention.clause[0], start)
    if there:
        begin, absence = with_article(text, there.start(1), like("absence", text, there.start(1)))
        return (Replacement(begin, there.end(1), absence),)
    evidence = _EVIDENCE.search(text, mention.clause[0], start)
    if evidence:
        return (
            Replacement(evidence.start(), evidence.end(), like(f"no {evidence.group(1)} of ", text, evidence.start())),
        )
    led = _WITH.search(text, 0, start)
    if led:
        return (Replacement(led.start(), mention.start, f"without {kept}"),)
    if phrase.before in _BE and not re.search(r"\bthere\s+$", text[: phrase.before_start], re.IGNORECASE):
        return _predicate(text, phrase)
    first = lowered(text, mention.start) if start == mention.start else ()
    return (Replacement(start, mention.start, like("no ", text, start) + kept), *first)


def _begins(text: str, mention: Mention, phrase: Phrase, start: int) -> bool:
    """Whether a bare finding begins its statement: "a nodule is seen", but not "a large nodule is clearly seen"."""
    dropped = len(text[phrase.start : mention.start].split()) > len(phrase.kept)
    clearly = re.search(r"\b(?:is|are|was|were)\s+\w+ly\b", text[mention.end : mention.clause[1]])
    return not text[mention.clause[0] : start].strip(" ,;:") and not dropped and clearly is None


def _listed(text: str, phrase: Phrase) -> bool:
    """Whether a finding stands before the "and" ("effusion and pneumothorax"), not an adjective ("clear and large")."""
    before = text[: phrase.before_start].rstrip()
    return any(one.end == len(before) for one in mentions(text, ("finding", "device")))


def noun_phrase(text: str, mention: Mention) -> Phrase:
    """The noun phrase that a mention ends: "an enhancing lesion" keeps "enhancing"; articles and degrees go."""
    words = [(hit.start(), hit.end()) for hit in _WORD.finditer(text, mention.clause[0], mention.start)]
    kept: list[str] = []
    start = cut = mention.start
    for begin, end in reversed(words):
        word = text[begin:end].lower()
        if word in _BOUNDARY or text[end:cut].strip():
            return Phrase(start, tuple(kept), word if not text[end:cut].strip() else "", begin)
        if not (word in _EMPTY or word.endswith("ly") or _is_degree(word)):
            kept.insert(0, text[begin:end])
        start = cut = begin
    return Phrase(start, tuple(kept), "", start)


def _is_degree(word: str) -> bool:
    named = mentions(word)
    return bool(named) and named[0].concept.type in _DEGREES


def _predicate(text: str, phrase: Phrase) -> tuple[Replacement, ...]:
    """What makes "is dilated" into "is not dilated", and "appears to be dilated" into "appears not to be dilated"."""
    to = re.search(r"\bto\s+$", text[: phrase.before_start])
    if phrase.before == "be" and to:
        return (Replacement(to.start(), to.start(), "not "),)
    end = phrase.before_start + len(phrase.before)
    return (Replacement(end, end, " not"),)
