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
    r"\s+(lung|kidney|lobe|hemithorax|base|apex|breast|hilum|zone|effusion|hemidiaphragm)\b", re.IGNORECASE
)


def put(text: str, mention: Mention, concept: Concept, *, words: str = "") -> tuple[Replacement, ...]:
    """What writes another concept of the same type where a mention stands: same form, case, number and article.

    ``words`` are written instead of the concept's own form.
    """
    form, old = mention.match.form, text[mention.start : mention.end]
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


def _takes_plural(mention: Mention, concept: Concept) -> bool:
    """Organs do, but for pairs of a plural name ("skull and contents"); findings where they are counted."""
    if looks_plural(mention.concept.forms[0]):
        return concept.type == "organ" and " " not in mention.concept.forms[0] and " " not in concept.forms[0]
    return concept.type in ("organ", "device") or (concept.type == "finding" and concept.count)


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
