"""Edits that turn "there is" into "there is not" and back, and a reply's yes into no."""

from __future__ import annotations

import re

from medpref.language.affirm import affirm
from medpref.language.deny import deny
from medpref.language.findings import ASSERTED, Mention, mentions, sentences
from medpref.language.lexicon import lexicon
from medpref.language.rewrite import Replacement, like
from medpref.language.substitute import put

_NORMAL = re.compile(r"\b(?:normal in size|within normal limits|normal|clear|sharp|midline)\b", re.IGNORECASE)
_LEAD = re.compile(r"^(\W*)(yes|no)\b(?=\s*(?:[.,;:!—–-]|$)|\s+(?:there|the|it|this|i)\b)", re.IGNORECASE)
_NO = re.compile(r"\bno\s+(?!(?:longer|interval|change|significant\s+change)\b)", re.IGNORECASE)
_NOT = re.compile(r"\b(is|are|was|were|does|do|has|have|can|did)\s+not\s+", re.IGNORECASE)
_BE = re.compile(r"\b(is|are|was|were|can|does|do)\b", re.IGNORECASE)
_VERBS = re.compile(
    r"\b(appear|seem|show|demonstrate|indicate|display|feature|contain|reveal|suggest|exhibit|enhance|involve|extend)(s?)\b",
    re.IGNORECASE,
)
_ASKED = ("modality", "sequence", "contrast", "plane", "normality", "side", "zone")


def flip_presence(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    """What makes a present finding absent, or an absent one present; None where no sound sentence results."""
    if mention.polarity == "uncertain":
        return None
    if mention.match.form.denies and mention.cue is None:
        return _break_norm(text, mention)
    return deny(text, mention) if mention.cue is None else affirm(text, mention)


def _break_norm(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    """What makes "Heart size is normal" into "Heart size is enlarged"."""
    hit = _NORMAL.search(text, mention.start, mention.end)
    if hit is None or not mention.concept.opposite:
        return None
    return (Replacement(hit.start(), hit.end(), like(mention.concept.opposite, text, hit.start())),)


def flip_lead(text: str) -> tuple[Replacement, ...]:
    """Yes for no and no for yes at the beginning of a reply; empty where it begins with neither."""
    hit = _LEAD.match(text)
    if hit is None:
        return ()
    said = hit.group(2)
    other = "no" if said.lower() == "yes" else "yes"
    spelled = other.upper() if said.isupper() else (other.capitalize() if said[0].isupper() else other)
    return (Replacement(hit.start(2), hit.end(2), spelled),)


def flip_decision(text: str, question: str = "") -> tuple[Replacement, ...]:
    """What turns a reply that begins with yes or no into its opposite, its first statement included.

    Empty where it begins with neither, or where the statement that follows cannot be turned: a half-turned reply
    would contradict itself.
    """
    lead = flip_lead(text)
    if not lead:
        return ()
    start, end = next(iter(sentences(text)), (0, len(text)))
    if not text[lead[0].end : end].strip(" .,!;"):
        later = [one for one in sentences(text) if one[0] >= end]
        start, end = later[0] if later else (end, end)
    start = max(start, lead[0].end)
    if not text[start:end].strip(" .,!;"):
        return lead
    moved = flip_statement(text[start:end], question)
    return (*lead, *(Replacement(one.start + start, one.end + start, one.after) for one in moved)) if moved else ()


def flip_statement(text: str, question: str = "") -> tuple[Replacement, ...]:
    """What turns one statement into its opposite; empty where no rule fits.

    In this order: what the question asks for in place of what is said instead of it; the first finding's presence;
    a "no" or "not" taken out; normal for abnormal; a "not" put in.
    """
    for said in mentions(text, _ASKED):
        for asked in mentions(question, (said.concept.type,)):
            if asked.concept != said.concept and said.cue is None and said.match.gap == (0, 0):
                return put(text, said, asked.concept)
    for mention in mentions(text, ASSERTED):
        moved = flip_presence(text, mention)
        if moved:
            return moved
    denied = _NOT.search(text)
    if denied:
        return (Replacement(denied.start(), denied.end(), f"{denied.group(1)} "),)
    none = _NO.search(text)
    if none:
        return (Replacement(none.start(), none.end(), ""),)
    norms = [m for m in mentions(text, ("normality",)) if m.polarity == "present" and m.match.gap == (0, 0)]
    if norms:
        return put(text, norms[0], lexicon().partners(norms[0].concept)[0])
    be, verb = _BE.search(text), _VERBS.search(text)
    if verb and (be is None or verb.start() < be.start()):
        aid = "does not" if verb.group(2) else "do not"
        return (Replacement(verb.start(), verb.end(), f"{aid} {verb.group(1)}"),)
    return (Replacement(be.end(), be.end(), " not"),) if be else ()
