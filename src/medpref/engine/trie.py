"""Token sequences as a forest in which every distinct (parent, token) is one node. Pure: lists in, arrays out.

Knows: token ids and the root each sequence hangs from (its images). Does not know: models, positions, tensors.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

Array = np.ndarray
Line = tuple[Hashable, Sequence[int]]


@dataclass(frozen=True, eq=False)
class Forest:
    """Tries laid one after another, each in depth-first order: node ``j``'s descendants are ``j + 1 .. last[j]``.

    ``paths[s]`` are the nodes of sequence ``s`` from its root down, so ``tokens[paths[s]]`` is the sequence.
    ``starts`` are the first nodes of the trees, with the number of nodes at the end; ``parent`` of a root node is -1.
    """

    tokens: Int[Array, " node"]
    parent: Int[Array, " node"]
    last: Int[Array, " node"]
    depth: Int[Array, " node"]
    starts: Int[Array, " tree_plus_one"]
    paths: tuple[Int[Array, " token"], ...]

    @property
    def nodes(self) -> int:
        return len(self.tokens)

    def visible(self) -> Bool[Array, "node node"]:
        """``[i, j]``: node ``i`` may attend to node ``j``, its ancestor or itself: ``j <= i <= last[j]``."""
        index = np.arange(self.nodes)
        return (index[None, :] <= index[:, None]) & (index[:, None] <= self.last[None, :])


def build_forest(lines: Sequence[Line]) -> Forest:
    """The forest of ``(root key, token ids)`` lines; lines of different root keys never share a node.

    Trees come in the order in which their keys are first met. Sorted lexicographically, a line shares with the nodes
    already laid exactly its common prefix with the line before it, so a shared image is one block, not a token walk.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, (key, _) in enumerate(lines):
        groups.setdefault(key, []).append(number)
    arrays = [np.asarray(ids, dtype=np.int64) for _, ids in lines]
    laid = _Laid(paths=[np.empty(0, np.int64)] * len(lines))
    for members in groups.values():
        laid.starts.append(laid.size)
        _lay_tree(laid, arrays, members)
    return _finish(laid)


@dataclass
class _Laid:
    paths: list[Array]
    size: int = 0

    def __post_init__(self) -> None:
        self.tokens: list[Array] = []
        self.parents: list[Array] = []
        self.depths: list[Array] = []
        self.starts: list[int] = []
        self.order: list[int] = []


def _lay_tree(laid: _Laid, arrays: Sequence[Array], members: Sequence[int]) -> None:
    ordered = sorted(members, key=lambda number: arrays[number].astype(">i8").tobytes())
    ids, path = np.empty(0, np.int64), np.empty(0, np.int64)
    for number in ordered:
        new = arrays[number]
        shared = common_prefix(ids, new)
        count = len(new) - shared
        fresh = np.arange(laid.size, laid.size + count)
        path = np.concatenate((path[:shared], fresh))
        if count:
            parents = fresh - 1
            parents[0] = path[shared - 1] if shared else -1
            laid.tokens.append(new[shared:])
            laid.parents.append(parents)
            laid.depths.append(np.arange(shared, len(new)))
        laid.size += count
        laid.paths[number] = path
        laid.order.append(number)
        ids = new


def _finish(laid: _Laid) -> Forest:
    def joined(parts: list[Array]) -> Array:
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    last = np.arange(laid.size)
    for number in laid.order:
        path = laid.paths[number]
        if len(path):
            last[path] = path[-1]
    return Forest(
        tokens=joined(laid.tokens),
        parent=joined(laid.parents),
        last=last,
        depth=joined(laid.depths),
        starts=np.asarray([*laid.starts, laid.size], dtype=np.int64),
        paths=tuple(laid.paths),
    )


def common_prefix(first: Array, second: Array) -> int:
    """The number of leading tokens two sequences share."""
    length = min(len(first), len(second))
    differs = first[:length] != second[:length]
    where = int(differs.argmax()) if length else 0
    return where if length and differs[where] else length
