"""Replacements of characters: what an edit is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Replacement(NamedTuple):
    """Characters ``[start, end)`` of a text that become ``after``."""

    start: int
    end: int
    after: str


def replace(text: str, changes: Sequence[Replacement]) -> str:
    """The text with all replacements made; they may not overlap.

    >>> replace("no left effusion", [Replacement(3, 7, "right")])
    'no right effusion'
    """
    for change in sorted(changes, reverse=True):
        text = text[: change.start] + change.after + text[change.end :]
    return text


def like(word: str, text: str, start: int) -> str:
    """``word`` with a capital where the text has one at ``start``."""
    return word[:1].upper() + word[1:] if text[start : start + 1].isupper() else word


def space(text: str, end: int) -> int:
    """How many blanks follow."""
    return len(text[end:]) - len(text[end:].lstrip())


def lowered(text: str, start: int) -> tuple[Replacement, ...]:
    """What lowers the capital at ``start``, unless an abbreviation begins there."""
    if not text[start : start + 1].isupper() or text[start + 1 : start + 2].isupper():
        return ()
    return (Replacement(start, start + 1, text[start].lower()),)
