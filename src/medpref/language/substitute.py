"""One concept written where another stood: the same surface form, letter case, number and article."""

from __future__ import annotations

import re

from medpref.language.findings import Mention
from medpref.language.lexicon import Concept, lexicon
from medpref.language.number import agreeing
from medpref.language.rewrite import Replacement
from medpref.language.wording import looks_plural, plural, recase, with_article

_BOTH = re.compile(r"\b(?:bilateral|both)\s+$", re.IGNORECASE)
_PAIRED = re.compile(
    r"\s+(lung|kidney|lobe|hemithorax|hemisphere|base|apex|breast|hilum|zone|effusion|hemidiaphragm)\b", re.IGNORECASE
)
_MANY_BEFORE = re.compile(r"\b(?:bilateral|both|these|those|two)\s+$", re.IGNORECASE)
_MANY_AFTER = re.compile(r"\s+(?:\w+ly\s+)?(?:are|were|have|appear|show|look|seem|do|remain)\b", re.IGNORECASE)


def put(text: str, mention: Mention, concept: Concept, *, words: str = "") -> tuple[Replacement, ...]:
    """What writes another concept of the same type where a mention stands: same form, case, number and article.

    ``words`` are written instead of the concept's own form.
    """
    form, old = mention.match.form, _old(text, mention)
    new = words or written(mention, concept)
    both = concept.type == "organ" and _BOTH.search(text[: mention.start]) is not None
    many = (mention.match.plural or looks_plural(old)) and _takes_plural(mention, concept)
    if not words and (both or many):
        new = plural(new, concept.plural)
    cased = recase(new, old=old, text=text, canonical=form.text)
    start, after = with_article(text, mention.start, cased)
    return (
        Replacement(start, mention.end, after),
        *_number_after(text, mention, concept),
        *agreeing(text, mention, concept),
    )


def written(mention: Mention, concept: Concept) -> str:
    """The form of a concept that corresponds to the one that stands there."""
    index = mention.match.form.index
    alike = mention.concept.type in lexicon().parallel and index < min(len(mention.concept.forms), len(concept.forms))
    return concept.forms[index if alike else 0]


def takes_number(text: str, mention: Mention, concept: Concept) -> bool:
    """Whether a concept may stand in this number: not an organ of which there is one where several are spoken of.

    The liver cannot stand for the lungs in "the lungs are clear", but for the ribs in "it is the ribs".
    """
    if concept.type != "organ" or _is_many(concept) or not (mention.match.plural or looks_plural(_old(text, mention))):
        return True
    return not (_MANY_BEFORE.search(text, 0, mention.start) or _MANY_AFTER.match(text, mention.end))


def _old(text: str, mention: Mention) -> str:
    return text[mention.start : mention.end]


def _is_many(organ: Concept) -> bool:
    """Whether an organ is spoken of in the plural: one of its forms is a plural."""
    return bool(organ.plural) or any(looks_plural(form) for form in (*organ.forms, *organ.also))


def _takes_plural(mention: Mention, concept: Concept) -> bool:
    """Organs of which there are several, but for pairs of a plural name ("skull and contents"); counted findings."""
    if looks_plural(mention.concept.forms[0]):
        paired = " " not in mention.concept.forms[0] and " " not in concept.forms[0]
        return concept.type == "organ" and paired and _is_many(concept)
    if concept.type == "organ":
        return _is_many(concept)
    return concept.type == "device" or (concept.type == "finding" and concept.count)


def _number_after(text: str, mention: Mention, concept: Concept) -> tuple[Replacement, ...]:
    """What makes "Bilateral lungs" a "Left lung" and back: the noun's plural goes or comes."""
    one = ("left", "right")
    if mention.concept.name == "both" and concept.name in one:
        noun = re.match(r"\s+([A-Za-z]+[^s\W])s\b", text[mention.end :])
        return (Replacement(mention.end + noun.end() - 1, mention.end + noun.end(), ""),) if noun else ()
    if mention.concept.name in one and concept.name == "both":
        noun = _PAIRED.match(text, mention.end)
        return (Replacement(noun.start(1), noun.end(), plural(noun.group(1))),) if noun else ()
    return ()
