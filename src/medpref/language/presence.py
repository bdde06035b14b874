"""Edits that turn "there is" into "there is not" and back, and a reply's yes into no."""

from __future__ import annotations

import re

from medpref.language.affirm import affirm
from medpref.language.deny import deny
from medpref.language.findings import ASSERTED, Mention, mentions, sentences
from medpref.language.lexicon import Concept, lexicon
from medpref.language.negation import is_bound, with_not, without_no, without_not
from medpref.language.rewrite import Replacement, like
from medpref.language.substitute import put, written

_NORMAL = re.compile(r"\b(?:normal in size|within normal limits|normal|clear|sharp|midline)\b", re.IGNORECASE)
_LEAD = re.compile(r"^(\W*)(yes|no)\b(?=\s*(?:[.,;:!—–-]|$)|\s+(?:there|the|it|this|i)\b)", re.IGNORECASE)
_ASKED = ("modality", "sequence", "contrast", "plane", "normality", "side", "zone", "size")
_AGAINST = ("modality", "sequence", "plane", "nature", "normality")
_GRADED = re.compile(r"\b(?:than|abnormally|perfectly)\s+$", re.IGNORECASE)
_IS = re.compile(r"\b(?:is|are|appears?|remains?|lies)\s+(?:\w+ly\s+)?$", re.IGNORECASE)
_THE = re.compile(r"\b(?:the|a)\s+$", re.IGNORECASE)


def flip_presence(text: str, mention: Mention, *, graded: bool = True) -> tuple[Replacement, ...] | None:
    """What makes a present finding absent, or an absent one present; None where no sound sentence results.

    ``graded``: a finding that becomes present gets its usual degree ("a small effusion"); without it nothing is said
    that the text does not say.
    """
    if mention.polarity == "uncertain":
        return None
    if mention.match.form.denies and mention.cue is None:
        return _break_norm(text, mention)
    return deny(text, mention) if mention.cue is None else affirm(text, mention, graded=graded)


def _break_norm(text: str, mention: Mention) -> tuple[Replacement, ...] | None:
    """What makes "Heart size is normal" into "Heart size is enlarged"."""
    hit = _NORMAL.search(text, mention.start, mention.end)
    if hit is None or not mention.concept.opposite or _GRADED.search(text[: hit.start()]):
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


def flip_decision(text: str, question: str = "", *, graded: bool = True) -> tuple[Replacement, ...]:
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
    moved = flip_statement(text[start:end], question, graded=graded)
    return (*lead, *(Replacement(one.start + start, one.end + start, one.after) for one in moved)) if moved else ()


def flip_statement(text: str, question: str = "", *, graded: bool = True) -> tuple[Replacement, ...]:
    """What turns one statement into its opposite; empty where no rule fits.

    In this order: what the question asks for in place of what is said instead of it; the first finding's presence;
    a "not" or "no" taken out; normal for abnormal; a "not" put in. A statement that sets one thing against another
    or gives a reason ("A rather than B", "not A, it is B") is left alone. Without ``graded`` nothing is said that a
    plain "not" would not say: "not flattened", where "normal" would say more.
    """
    named = {said.concept for said in mentions(text)}
    for said in mentions(text, _ASKED):
        for asked in mentions(question, (said.concept.type,)):
            if asked.concept not in named and said.cue is None and _adjective(text, said):
                return () if is_bound(text) else _everywhere(text, said, asked.concept)
    if is_bound(text) or _sets_against(text):
        return ()
    for mention in mentions(text, ASSERTED):
        moved = flip_presence(text, mention, graded=graded)
        if moved:
            return moved
    lighter = without_not(text) or without_no(text, question)
    if lighter:
        return lighter
    norms = [m for m in mentions(text, ("normality",)) if m.polarity == "present" and _adjective(text, m)]
    negated = with_not(text)
    if norms and (graded or _plain_opposite(norms[0]) or not negated):
        return put(text, norms[0], lexicon().partners(norms[0].concept)[0])
    return negated


def _sets_against(text: str) -> bool:
    """Whether one concept is denied and another of its type affirmed: "not in the axial plane, it is coronal"."""
    read = mentions(text, _AGAINST)
    denied = [one for one in read if one.polarity == "absent"]
    affirmed = [one for one in read if one.polarity == "present"]
    return any(a.concept.type == b.concept.type and a.concept != b.concept for a in denied for b in affirmed)


def _plain_opposite(norm: Mention) -> bool:
    """Whether the opposite says no more than "not": normal and abnormal, but not flattened (or enlarged) and normal."""
    partner = lexicon().partners(norm.concept)[0]
    own, other = norm.match.form.text, written(norm, partner)
    alike = own.startswith(norm.concept.forms[0]) and other.startswith(partner.forms[0])
    return lexicon().partners(partner)[0] == norm.concept and (alike or other == partner.forms[0])


def _everywhere(text: str, mention: Mention, concept: Concept) -> tuple[Replacement, ...]:
    """What writes a concept wherever another one stands: "an anteroposterior (AP) film"."""
    alike = [one for one in mentions(text) if one.concept == mention.concept and one.match.gap == (0, 0)]
    return tuple(moved for one in alike for moved in put(text, one, concept))


def _adjective(text: str, mention: Mention) -> bool:
    """Whether a word may be exchanged for its opposite: not "than normal", nor "across the midline"."""
    before, after = text[: mention.start], text[mention.end :]
    if mention.match.gap != (0, 0) or mention.concept.name == "neither" or _GRADED.search(before):
        return False
    if mention.concept.name == "clear" and re.match(r"\s+[a-z]", after):
        return False
    if mention.concept.name == "midline":
        return _IS.search(before) is not None
    ends = re.match(r"\s+[a-z]", after, re.IGNORECASE) is None
    return not (mention.concept.type == "normality" and ends and _THE.search(before))
