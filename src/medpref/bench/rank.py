"""Places from paired outcomes: a range a method, never a place that a tie does not allow."""

from __future__ import annotations

from collections.abc import Collection, Sequence

Beats = Collection[tuple[str, str]]


def ranks(names: Sequence[str], beats: Beats) -> dict[str, tuple[int, int]]:
    """``(best, worst)`` place of each name, 1 the first; ``beats`` holds the (winner, loser) couples.

    best = 1 + how many beat it, worst = all - how many it beats. Two names that are tied always share a place: "beats"
    need not be transitive (intervals differ in width), so a range is lengthened to the best place of whom it ties with.

    >>> ranks(["a", "b", "c"], {("a", "c")})
    {'a': (1, 2), 'b': (1, 3), 'c': (2, 3)}
    """
    best = {name: 1 + sum((other, name) in beats for other in names) for name in names}
    worst = {name: len(names) - sum((name, other) in beats for other in names) for name in names}
    found = {}
    for name in names:
        tied = [other for other in names if (name, other) not in beats and (other, name) not in beats]
        found[name] = (best[name], max([worst[name], *(best[other] for other in tied)]))
    return found


def place(rank: tuple[int, int] | None) -> str:
    """A range of places for a reader.

    >>> place((1, 3)), place((2, 2)), place(None)
    ('1-3', '2', '')
    """
    if rank is None:
        return ""
    best, worst = rank
    return str(best) if best == worst else f"{best}-{worst}"
