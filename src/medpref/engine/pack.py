"""Pairs into micro-steps: forests within a budget of nodes, pairs of one image together. Pure: no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medpref.engine.encode import EncodedPair, required_branches
from medpref.engine.trie import Array, common_prefix
from medpref.errors import DataError
from medpref.objectives.scores import Needs

Held = dict[tuple[str, ...], list[Array]]


def pack(pairs: Sequence[EncodedPair], needs: Needs, max_tokens: int) -> list[list[int]]:
    """Indices of ``pairs`` in micro-steps whose forests have at most ``max_tokens`` nodes each.

    Pairs that show the same images stand together, in the order in which the images are first met; nothing is cut
    through an image. DataError names a pair that exceeds the budget alone.
    """
    wanted = required_branches(needs)
    packs: list[list[int]] = []
    held, used = Held(), max_tokens + 1
    for index in _by_image(pairs):
        lines = _lines(pairs[index], wanted)
        cost = _add(held, lines)
        if used + cost > max_tokens:
            held = Held()
            cost, used = _add(held, lines), 0
            _check(pairs[index], lines, cost, max_tokens)
            packs.append([])
        used += cost
        packs[-1].append(index)
    return packs


def count_nodes(pairs: Sequence[EncodedPair], needs: Needs) -> int:
    """The number of nodes that the forest of ``pairs`` has."""
    held = Held()
    return sum(_add(held, _lines(pair, required_branches(needs))) for pair in pairs)


def _by_image(pairs: Sequence[EncodedPair]) -> list[int]:
    groups: dict[frozenset[tuple[str, ...]], list[int]] = {}
    for index, pair in enumerate(pairs):
        groups.setdefault(frozenset(branch.images for branch in pair.branches.values()), []).append(index)
    return [index for members in groups.values() for index in members]


def _lines(pair: EncodedPair, wanted: Sequence[object]) -> list[tuple[tuple[str, ...], Array]]:
    branches = [branch for name, branch in pair.branches.items() if name in wanted]
    return [(branch.images, np.asarray(branch.read)) for branch in branches]


def _add(held: Held, lines: Sequence[tuple[tuple[str, ...], Array]]) -> int:
    """The nodes that some lines add to those held: of each what no other line of its root begins with."""
    fresh = 0
    for images, ids in lines:
        same = held.setdefault(images, [])
        fresh += len(ids) - max((common_prefix(other, ids) for other in same), default=0)
        same.append(ids)
    return fresh


def _check(pair: EncodedPair, lines: Sequence[tuple[tuple[str, ...], Array]], cost: int, max_tokens: int) -> None:
    if cost > max_tokens:
        longest = max(len(ids) for _, ids in lines)
        raise DataError(
            f"pair {pair.id!r}",
            given=f"{cost} distinct tokens (longest branch {longest})",
            expected=f"at most max_tokens_per_batch = {max_tokens}",
            todo="raise max_tokens_per_batch, use a lower image resolution, or drop the pair",
        )
