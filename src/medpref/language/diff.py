"""Which words of two replies differ: spans on the final strings, never a model's own tags.

Knows: words and their places. Does not know: what a difference means (``findings``, ``edits``).
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple

from medpref.schema import Span

_WORD = re.compile(r"\w+(?:[-'’./]\w+)*|[^\w\s]")


class Change(NamedTuple):
    """A range of words ``[a_start, a_end)`` of the first text that stands as ``[b_start, b_end)`` in the second."""

    a_start: int
    a_end: int
    b_start: int
    b_end: int


def words(text: str) -> list[tuple[int, int]]:
    """Half-open character ranges of a text's words and punctuation marks.

    >>> [text[a:b] for text in ["No T2-weighted X-ray."] for a, b in words(text)]
    ['No', 'T2-weighted', 'X-ray', '.']
    """
    return [match.span() for match in _WORD.finditer(text)]


def split_words(text: str) -> list[str]:
    """A text's words and punctuation marks."""
    return _WORD.findall(text)


def changes(a: list[str], b: list[str]) -> list[Change]:
    """The differing word ranges of two word lists, in order; equal words between them.

    The common beginning and end are set aside first, so that one exchanged word is one change of one word.
    """
    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    inner_a, inner_b = a[head : len(a) - tail], b[head : len(b) - tail]
    codes = SequenceMatcher(a=inner_a, b=inner_b, autojunk=False).get_opcodes()
    return [Change(i + head, j + head, k + head, m + head) for tag, i, j, k, m in codes if tag != "equal"]


def spans(a: str, b: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The character spans of ``a`` and of ``b`` that differ, word by word; a pure insertion has one on one side only.

    >>> first, second = spans("Small left effusion.", "Small right effusion.")
    >>> [(s.start, s.end) for s in first + second]
    [(6, 10), (6, 11)]
    """
    at_a, at_b = words(a), words(b)
    differing = changes([a[i:j] for i, j in at_a], [b[i:j] for i, j in at_b])
    ours = tuple(Span(start=at_a[c.a_start][0], end=at_a[c.a_end - 1][1]) for c in differing if c.a_end > c.a_start)
    theirs = tuple(Span(start=at_b[c.b_start][0], end=at_b[c.b_end - 1][1]) for c in differing if c.b_end > c.b_start)
    return ours, theirs


def outside(text: str, marked: tuple[Span, ...]) -> list[str]:
    """The words of a text that no span touches."""
    return [text[i:j] for i, j in words(text) if not any(i < span.end and j > span.start for span in marked)]


def edit_share(a: str, b: str) -> float:
    """1 - word similarity: 0 for equal texts, 1 for texts without a common word (FiRe-MPO's edit distance)."""
    ours, theirs = a.split(), b.split()
    return 1.0 - SequenceMatcher(a=ours, b=theirs, autojunk=False).ratio()
