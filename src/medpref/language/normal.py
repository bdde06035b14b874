"""The normal form of a short text, and whole words in it: "no" is not in "normal"."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10",
}  # fmt: skip
_X_RAY = re.compile(r"\bx ray\b")
_NOT_WORD = re.compile(r"[^\w\s.]|(?<!\d)\.|\.(?!\d)|_")


@lru_cache(maxsize=16384)
def normalise(text: str) -> str:
    """A short answer's normal form: NFKC, lower case, no punctuation or articles, digits for number words.

    >>> normalise("The X-Ray, two views.")
    'xray 2 views'
    """
    plain = _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    plain = _X_RAY.sub("xray", " ".join(plain.split()))
    return " ".join(_NUMBERS.get(word, word) for word in plain.split() if word not in _ARTICLES)


def tokens(text: str) -> list[str]:
    """The words of a text's normal form."""
    return normalise(text).split()


def contains(text: str, part: str) -> bool:
    """Whether the words of ``part`` stand in ``text`` in a row (whole words of the normal forms)."""
    return bool(tokens(part)) and f" {normalise(part)} " in f" {normalise(text)} "
