"""Which choice an answer states, by whole words and negation.

Knows: yes/no (`decision`) and choices. Does not know: the image, nor open-ended meaning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from medpref.language.decision import decision
from medpref.language.findings import mentions, sentences
from medpref.language.normal import contains, normalise, tokens

__all__ = ["YES_NO", "contains", "decision", "is_yes_no", "normalise", "parse_closed", "tokens"]
YES_NO = frozenset({"yes", "no"})


def is_yes_no(choices: Sequence[str]) -> bool:
    """Whether the choices (or the single answer in a list) are yes and no."""
    return bool(choices) and all(normalise(choice) in YES_NO for choice in choices)


def parse_closed(reply: str, choices: Sequence[str] = (), question: str = "") -> str | None:
    """The choice a reply decides for, in the choices' own spelling; None where it does not decide.

    Without choices the choices are ``yes`` and ``no``. A choice counts where it stands as whole words, is not part of
    a longer choice, and is not negated ("not left but right" is right). Where several stand, the first sentence with
    exactly one decides, unless a choice means both.
    """
    if not choices or is_yes_no(choices):
        said = decision(reply, question)
        spelled = {normalise(choice): choice for choice in choices} or {"yes": "yes", "no": "no"}
        return spelled.get(said) if said else None
    for choice in choices:
        if normalise(reply) == normalise(choice):
            return choice
    whole = _affirmed(reply, choices)
    if len(whole) == 1:
        return whole[0]
    both = [choice for choice in choices if normalise(choice) in ("both", "bilateral", "both sides")]
    if both and len(whole) > 1:
        return both[0]
    for start, end in sentences(reply):
        here = _affirmed(reply[start:end], choices)
        if here:
            return here[0] if len(here) == 1 else None
    return None


def _affirmed(text: str, choices: Sequence[str]) -> list[str]:
    plain = f" {normalise(text)} "
    standing = [choice for choice in choices if normalise(choice) and f" {normalise(choice)} " in plain]
    standing = [one for one in standing if not any(_inside(one, other, plain) for other in standing if other != one)]
    read = mentions(text)
    named = {(m.concept.type, m.concept.name): m.polarity for m in read}
    affirmed = []
    for choice in choices:
        keys = [(m.concept.type, m.concept.name) for m in mentions(choice)]
        whole = bool(keys) and set(tokens(choice)) <= {
            word for m in mentions(choice) for word in tokens(choice[m.start : m.end])
        }
        synonym = whole and not standing and all(key in named for key in keys)
        denied = any(named.get(key) == "absent" for key in keys)
        if (choice in standing or synonym) and not denied and not _negated(plain, normalise(choice)):
            affirmed.append(choice)
    return affirmed


def _inside(short: str, long: str, plain: str) -> bool:
    """Whether every place of ``short`` lies within a place of the longer choice."""
    inner, outer = f" {normalise(short)} ", f" {normalise(long)} "
    return inner in outer and plain.replace(outer, " ").count(inner) == 0


def _negated(plain: str, choice: str) -> bool:
    return re.search(rf"\b(?:not|no|without|isnt|rather than)\s+(?:\w+\s+)?{re.escape(choice)}\b", plain) is not None
