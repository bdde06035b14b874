"""Verb and noun that go with a count when it becomes one, or more than one: "there are two masses", "is one mass"."""

from __future__ import annotations

import re

from medpref.language.findings import Mention, mentions
from medpref.language.lexicon import Concept
from medpref.language.rewrite import Replacement, like
from medpref.language.wording import plural

_ONE = frozenset({"one", "lone"})
_VERB = re.compile(r"\b(is|are|was|were)\s+(?:only\s+)?$", re.IGNORECASE)
_MANY = {"is": "are", "was": "were"}
_SINGLE = {many: one for one, many in _MANY.items()}


def agreeing(text: str, mention: Mention, concept: Concept) -> tuple[Replacement, ...]:
    """What else changes where a count is exchanged for another: the verb before it and the finding after it."""
    many = concept.name not in _ONE
    if mention.concept.type != "count" or many == (mention.concept.name not in _ONE):
        return ()
    verb = _VERB.search(text, 0, mention.start)
    turned = (_MANY if many else _SINGLE).get(verb.group(1).lower()) if verb else None
    moved = [Replacement(verb.start(1), verb.end(1), like(turned, text, verb.start(1)))] if verb and turned else []
    named = (one for one in mentions(text, ("finding", "device", "organ")) if one.start >= mention.end)
    noun = next(named, None)
    if noun is not None and noun.match.gap == (0, 0) and noun.clause == mention.clause:
        single = _singular(text[noun.start : noun.end], noun)
        moved.append(Replacement(noun.start, noun.end, plural(single, noun.concept.plural) if many else single))
    return tuple(moved)


def _singular(word: str, noun: Mention) -> str:
    """The word without its plural ending; the concept's first form where the plural is a form of its own."""
    text = noun.match.form.text
    if noun.match.plural:
        return word[: len(text)]
    return noun.concept.forms[0] if word.lower() in noun.concept.also and word.lower().endswith("s") else word
