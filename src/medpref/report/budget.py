"""How a page stays small: items are taken evenly from the whole list until a budget of bytes is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from medpref import store

Item = TypeVar("Item")
GOLDEN = 0.6180339887498949


def spread(count: int) -> list[int]:
    """The numbers below ``count`` in an order whose every beginning lies evenly over them (golden-ratio steps)."""
    return sorted(range(count), key=lambda index: (index * GOLDEN) % 1.0)


def fit(
    items: Sequence[Item], entry_of: Callable[[Item], dict[str, Any]], *, budget: int
) -> list[tuple[Item, dict[str, Any]]]:
    """``(item, entry)`` in the list's order, of evenly spread items whose entries' JSON fits into ``budget`` bytes."""
    kept: dict[int, dict[str, Any]] = {}
    for index in spread(len(items)):
        entry = entry_of(items[index])
        budget -= len(store.to_json(entry).encode()) + 1
        if budget < 0:
            break
        kept[index] = entry
    return [(items[index], kept[index]) for index in sorted(kept)]


def spread_over(items: Sequence[Item]) -> Iterator[Item]:
    """The items in :func:`spread` order."""
    return (items[index] for index in spread(len(items)))
