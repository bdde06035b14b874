"""How a contract suite says what was broken."""

from __future__ import annotations


def promise(kept: bool, breach: str) -> None:
    """Raise AssertionError with the breach (a sentence without its subject) unless the promise is kept.

    >>> promise(2 > 1, "is not larger")
    """
    if not kept:
        raise AssertionError(breach)
