"""Counts of the work done (not of time): they explain every speed-up and gate it in tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

_ACTIVE: list[Counters] = []


@dataclass
class Counters:
    """``tokens_computed`` positions went through the language model, for ``tokens_asked`` in all sequences asked for.

    ``slots`` includes padding. ``head_products`` are products of one row with the whole vocabulary matrix.
    Tokens of the reference are counted apart from the policy's.
    """

    tokens_asked: int = 0
    tokens_computed: int = 0
    reference_tokens: int = 0
    slots: int = 0
    tower_calls: int = 0
    tower_studies: int = 0
    images_decoded: int = 0
    head_rows: int = 0
    head_products: int = 0


@contextlib.contextmanager
def counting() -> Iterator[Counters]:
    """Count the work done inside the block; blocks nest, and each counts all that happens inside it."""
    counts = Counters()
    _ACTIVE.append(counts)
    try:
        yield counts
    finally:
        _ACTIVE.remove(counts)


def add(**amounts: int) -> None:
    """Add to every open count."""
    for counts in _ACTIVE:
        for name, amount in amounts.items():
            setattr(counts, name, getattr(counts, name) + amount)
