"""A policy's wrong reply with the fewest words exchanged so that it agrees with the reference, by rules.

Knows: the lexicon's places in a reply, yes and no, choices. Does not know: the image; what the reference does not say
is not put in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from medpref.curation.clause import is_short
from medpref.curation.falsify import NOTHING, alike_in_length, put_choice
from medpref.judging.agreement import Agreement
from medpref.judging.exact import closed_choices
from medpref.judging.findings import compare
from medpref.language.answers import is_yes_no, normalise, parse_closed, tokens
from medpref.language.findings import Mention, mentions
from medpref.language.lexicon import Concept, lexicon
from medpref.language.presence import flip_decision, flip_presence, flip_statement
from medpref.language.rewrite import replace
from medpref.language.substitute import put, takes_number
from medpref.language.wording import styled
from medpref.schema import Example

FAMILIES = (("finding", "device"), ("organ", "side", "zone"))
_EXPLAINED = re.compile(r"[^,.]*,\s+(?:which|that|an?|the)\b", re.IGNORECASE)
_TWICE = re.compile(r"\b([\w-]+) \(\1\)", re.IGNORECASE)
_LIGHT = frozenset({"in", "on", "at", "of", "and", "side", "to"})


def righted(example: Example, own: str) -> str | None:
    """The policy's wrong reply with the fewest words replaced so that it agrees with the reference, or None."""
    if example.answer_type == "report":
        return _righted_report(example.answer, own)
    judge = Agreement()
    for candidate in _candidates(example, own):
        if candidate and judge.judge(example, candidate).value == 1.0 and not left_over(example, candidate):
            return candidate
    return None


def _candidates(example: Example, own: str) -> Iterator[str | None]:
    choices = closed_choices(example)
    said = parse_closed(own, choices, example.question) if choices is not None else None
    if choices is None:
        yield _concepts_put(example, own)
    elif said is None:
        return
    elif not choices or is_yes_no(choices):
        lead = flip_decision(own, example.question, graded=False)
        whole = flip_statement(own, example.question, graded=False)
        yield replace(own, lead) if lead else None
        yield replace(own, whole) if whole else None
    else:
        gold = parse_closed(example.answer, choices, example.question)
        yield put_choice(own, said, gold) if gold else None
    if _replaceable(example, own):
        yield styled(example.answer, like=own)


def _replaceable(example: Example, own: str) -> bool:
    """Whether the whole reply may be exchanged for the reference: it is an answer of the same kind, not a sentence.

    Kinds are the lexicon's types; a reply that says nothing ("None") is of every kind. What the lexicon does not know
    cannot be told from nonsense.
    """
    alike = alike_in_length(styled(example.answer, like=own), own)
    if not is_short(own) or not alike:
        return False
    return normalise(own) in NOTHING or bool(_sorts(example.answer) & _sorts(own))


def _sorts(text: str) -> set[str]:
    """The types of the concepts in a text; organ systems are of their own sort."""
    return {"system" if m.concept.name.endswith(" system") else m.concept.type for m in mentions(text)}


def _concepts_put(example: Example, own: str) -> str | None:
    """The reply with the reference's concepts where others of the same type stand; None where there is no place.

    What the question names is its subject ("the foreign body is a catheter"), not the place of the answer. None too
    where the reference says more than its concepts, or where the reply explains or qualifies what would be exchanged
    ("a cyst, which is a sac", "a benign cyst").
    """
    subject, answer = _subject(example), mentions(example.answer)
    told = {word for m in answer for word in tokens(example.answer[m.start : m.end])}
    if not set(tokens(example.answer)) <= told | set(tokens(own)) | _LIGHT:
        return None
    for one in answer:
        read = mentions(own)
        if any(m.concept == one.concept for m in read):
            continue
        sort = _sorts(one.concept.forms[0])
        alike = [m for m in read if m.match.gap == (0, 0) and _sorts(m.concept.forms[0]) == sort]
        places = [m for m in alike if m.concept not in subject and not lexicon().related(m.concept, one.concept)]
        if not places or _EXPLAINED.match(own, places[0].end) or not takes_number(own, places[0], one.concept):
            return None
        if _qualified(own, places[0], answer):
            return None
        for place in (m for m in reversed(places) if m.concept == places[0].concept):
            own = replace(own, put(own, place, one.concept, words=_own_words(example.answer, one)))
    return _TWICE.sub(r"\1", own)


def _qualified(own: str, place: Mention, answer: Sequence[Mention]) -> bool:
    """Whether a word on the nature of a finding, unknown to the reference, stays before it ("a benign cyst")."""
    known = {one.concept for one in answer}
    natures = (one for one in mentions(own, ("nature",)) if one.concept not in known)
    return any(not own[one.end : place.start].strip() for one in natures if one.end <= place.start)


def _own_words(reference: str, mention: Mention) -> str:
    """The reference's words for a concept where they are none of its usual forms ("lung fields"), else nothing."""
    words = reference[mention.start : mention.end]
    plain = words[:1].lower() + words[1:] if words[1:].islower() else words
    return "" if mention.match.form.index < len(mention.concept.forms) else plain


def _subject(example: Example) -> set[Concept]:
    """The concepts that a question is about; not those that it offers as answers ("viral or parasitic?")."""
    asked, answer = mentions(example.question), mentions(example.answer)
    offered = {m.concept.type for m in asked if any(m.concept == one.concept for one in answer)}
    return {m.concept for m in asked if m.concept.type not in offered}


def left_over(example: Example, text: str) -> bool:
    """Whether an edited reply to an open question still says something that question and reference do not.

    A finding beside the right one, or a place within it ("the right pancreas"); a whole that has parts ("of the
    brain") is no such place.
    """
    if closed_choices(example) is not None:
        return False
    answer = mentions(example.answer)
    known = {m.concept for m in answer} | _subject(example)
    for family in FAMILIES:
        said = [m for m in mentions(text, family) if m.polarity != "absent" and m.concept not in known]
        if any(m.concept.type in family for m in answer) and any(not lexicon().has_parts(m.concept) for m in said):
            return True
    return False


def _righted_report(reference: str, own: str) -> str | None:
    """The report with its contradictions flipped, its altered attributes mended, its unsupported findings denied.

    A finding that the report leaves out cannot be put in by a few words: such a report has no minimal edit (None).
    """
    for _ in range(8):
        found = compare(reference, own)
        flip = (*found.contradicted, *found.unsupported)
        if flip:
            changed = _flip(own, flip[0])
        elif found.altered:
            changed = _mend(own, found.altered[0])
        else:
            return own if not found.missing else None
        if changed is None or changed == own:
            return None
        own = changed
    return None


def _flip(own: str, finding: str) -> str | None:
    for mention in mentions(own, ("finding", "device")):
        if mention.concept.name == finding:
            changes = flip_presence(own, mention, graded=False)
            if changes:
                return replace(own, changes)
    return None


def _mend(own: str, altered: str) -> str | None:
    """One attribute exchanged; ``altered`` reads ``finding: attribute right/said``."""
    finding, _, rest = altered.partition(": ")
    kind, _, values = rest.partition(" ")
    right, _, said = values.partition("/")
    places = [m for m in mentions(own, (kind,)) if m.concept.name == said]
    subjects = [m for m in mentions(own, ("finding", "device")) if m.concept.name == finding]
    near = [place for place in places if any(place.clause == one.clause for one in subjects)]
    return replace(own, put(own, near[0], lexicon().get(kind, right))) if near else None
