"""How a word is written where another stood: letter case, number and article."""

from __future__ import annotations

import re

_ARTICLE_BEFORE = re.compile(r"\b(an?)\s+$", re.IGNORECASE)
_SILENT = re.compile(r"^(?:eu|uni|use|one\b)", re.IGNORECASE)
_READ_OUT = re.compile(r"^(?:x[- ]?ray|xr|mri?|mra)\b", re.IGNORECASE)
_SPELLED = re.compile(r"^(?!FLAIR|RAS|NICU|SARS|LAD\b)[FHLMNRSX](?:[A-Z]|-|\b)")


def recase(new: str, *, old: str, text: str, canonical: str = "") -> str:
    """``new`` in the letter case that ``old`` had in ``text``; ``canonical`` is how ``old`` is usually written.

    >>> recase("coronal", old="Axial", text="Axial"), recase("MRI", old="ct", text="ct", canonical="CT")
    ('Coronal', 'mri')
    """
    if text == text.lower():
        return new.lower()
    usual = canonical or old.lower()
    if old.isupper() and len(old) > 1 and not usual.isupper():
        return new.upper()
    if old[:1].isupper() and (not usual[:1].isupper() or text.startswith(old)):
        return new[:1].upper() + new[1:]
    return new


def plural(noun: str, irregular: str = "") -> str:
    """The plural of a finding or organ; a noun that already is one stays."""
    if irregular:
        return irregular
    if noun.endswith("is"):
        return noun[:-2] + "es"
    if noun.endswith("thorax"):
        return noun[:-1] + "ces"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("s", "a")) and not noun.endswith(("ss", "oma", "us")):
        return noun
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def looks_plural(noun: str) -> bool:
    """Whether a noun is written in the plural."""
    return noun.lower().endswith("s") and not noun.lower().endswith(("ss", "is", "us", "pancreas", "pons"))


def article(noun: str) -> str:
    """``a`` or ``an``, by sound.

    >>> [article(word) for word in ("effusion", "MRI", "unilateral mass", "CT", "xray")]
    ['an', 'an', 'a', 'a', 'an']
    """
    if _SPELLED.match(noun) or _READ_OUT.match(noun):
        return "an"
    return "an" if noun[:1].lower() in "aeiou" and not _SILENT.match(noun) else "a"


def with_article(text: str, start: int, new: str) -> tuple[int, str]:
    """``(start, new)`` widened over an ``a`` or ``an`` that stands before and must change with the word."""
    before = _ARTICLE_BEFORE.search(text, 0, start)
    if before is None or before.group(1).lower() == article(new):
        return start, new
    fitting = article(new)
    fitting = fitting.capitalize() if before.group(1)[0].isupper() else fitting
    return before.start(), f"{fitting}{text[before.end(1) : start]}{new}"


def styled(text: str, *, like: str) -> str:
    """A text with the final stop and the first letter's case of another one.

    >>> styled("Left lung.", like="right side"), styled("the liver", like="Spleen.")
    ('left lung', 'The liver.')
    """
    plain = text.strip()
    if like.rstrip()[-1:] == ".":
        plain = plain if plain[-1:] in ".!?" else plain + "."
    elif len(plain) > 1:
        plain = plain.rstrip(".")
    if like == like.lower() and any(letter.isalpha() for letter in like):
        return plain.lower() if len(like.split()) <= 4 else plain
    return plain[:1].upper() + plain[1:] if like[:1].isupper() else plain
