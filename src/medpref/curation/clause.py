"""The words of a policy's reply that answer, and whether they hold together.

Knows: sentences, the phrases by which a sentence goes on, yes and no. Does not know: whether the answer is right.
"""

from __future__ import annotations

import re

from medpref.curation.draft import Context
from medpref.judging.exact import closed_choices
from medpref.language.answers import YES_NO, decision, normalise, parse_closed, tokens
from medpref.language.findings import mentions, sentences
from medpref.language.negation import without_no, without_not
from medpref.language.presence import flip_lead
from medpref.schema import Example

SHORT_WORDS = 6
_GOES_ON = re.compile(
    r",\s+(?:which|who|with|specifically|including|because|since|so|and\s+(?:therefore|no)|meaning|\w{3,}ing)\b",
    re.IGNORECASE,
)
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|shows?|it|image|seen)\b", re.IGNORECASE)


def clause(example: Example, own: str) -> str:
    """The sentence of a reply that answers (FiRe-MPO's extracted clause); a report stays whole.

    Closed: the first that decides, with the one after it where it is a bare yes or no. Open: the first that speaks of
    what the reference speaks of. Else the first.
    """
    text = own.strip()
    parts = [re.sub(r"[;:]$", ".", text[start:end].strip()) for start, end in sentences(text)]
    if example.answer_type == "report" or len(parts) < 2:
        return text
    choices = closed_choices(example)
    kinds = {mention.concept.type for mention in mentions(example.answer)}
    for place, part in enumerate(parts):
        if choices is not None and parse_closed(part, choices, example.question) is not None:
            return " ".join(parts[place : place + 2]) if normalise(part) in YES_NO else part
        if choices is None and kinds & {mention.concept.type for mention in mentions(part)}:
            return part
    return parts[0]


def main_clause(example: Example, own: str) -> str:
    """The part of a sentence before it goes on (", which", ", suggesting", ", with"), where that part still answers."""
    cut = _GOES_ON.search(own)
    if cut is None or example.answer_type == "report":
        return own
    head = own[: cut.start()].rstrip() + "."
    choices = closed_choices(example)
    if choices is not None:
        whole, part = (parse_closed(text, choices, example.question) for text in (own, head))
        return head if part is not None and part == whole else own
    kinds = {mention.concept.type for mention in mentions(example.answer)}
    rest = {mention.concept.type for mention in mentions(own[cut.start() :])}
    return head if kinds & {mention.concept.type for mention in mentions(head)} and not kinds & rest else own


def contradicts_itself(example: Example, own: str) -> bool:
    """Whether a reply leads with yes or no and then states the opposite."""
    lead = flip_lead(own)
    if closed_choices(example) is None or not lead:
        return False
    first, rest = decision(own), decision(own[lead[0].end :].lstrip(" ,.;:"), example.question)
    return rest is not None and first != rest


def says_otherwise(example: Example, text: str) -> bool:
    """Whether a reply leads with yes or no and affirms something that contradicts it: "yes, in a prone position".

    A statement with a "not" or a "no" is left out: what it denies may be the opposite of what was asked.
    """
    lead = flip_lead(text)
    rest = text[lead[0].end :] if lead else text
    return contradicts_itself(example, text) and not without_not(rest) and not without_no(rest)


def at_odds(text: str) -> bool:
    """Whether a text says that something is normal and a finding present, or abnormal and no abnormality."""
    read = [m for m in mentions(text, ("normality", "finding")) if m.polarity != "uncertain"]
    said = {m.concept.name for m in read if m.concept.type == "normality" and m.polarity == "present"}
    present = any(m.concept.type == "finding" and m.polarity == "present" for m in read)
    nothing = any(m.concept.name == "abnormality" and m.polarity == "absent" for m in read)
    return ("normal" in said and present) or ("abnormal" in said and nothing)


def nonsense(example: Example, own: str, context: Context) -> bool:
    """Whether a short answer to an open question holds words that neither the data nor the lexicon knows."""
    if closed_choices(example) is not None or not is_short(own):
        return False
    read = {word for m in mentions(own) for word in tokens(own[m.start : m.end])}
    return not set(tokens(own)) <= read | set(tokens(example.question)) | context.vocabulary


def is_short(own: str) -> bool:
    """Whether a reply is a bare answer, not a sentence."""
    return len(own.split()) <= SHORT_WORDS and _VERB.search(own) is None
