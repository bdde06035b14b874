"""Where each node of a forest stands: rows of equal length, positions, and who may see whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from medpref.engine.encode import EncodedBranch
from medpref.engine.planner import place_trees
from medpref.engine.trie import Array, Forest, build_forest


@dataclass(frozen=True, eq=False)
class Layout:
    """Trees in rows of ``capacity`` slots; ``slot[node]`` = row * capacity + column. Unused slots see only themselves.

    ``tokens``, ``last`` (a column) are by slot; ``positions`` by axis and slot; ``feature`` is the row of the image
    features that an image token stands for, -1 elsewhere.
    """

    rows: int
    capacity: int
    slot: Int[Array, " node"]
    tokens: Int[Array, "row column"]
    last: Int[Array, "row column"]
    positions: Int[Array, "axis row column"]
    feature: Int[Array, "row column"]

    def visible(self) -> Bool[Array, "row column column"]:
        """``[r, i, j]``: slot ``i`` of row ``r`` may attend to slot ``j``."""
        column = np.arange(self.capacity)
        return (column[None, None, :] <= column[None, :, None]) & (column[None, :, None] <= self.last[:, None, :])


@dataclass(frozen=True, eq=False)
class Plan:
    """A forest of distinct sequences, laid out for an attention back end.

    ``lines[s]`` is the branch behind sequence ``s``; ``studies`` are the distinct ones, with their image tokens.
    """

    lines: tuple[EncodedBranch, ...]
    forest: Forest
    studies: tuple[tuple[str, ...], ...]
    study_sizes: tuple[int, ...]
    layout: Layout
    backend: str


def make_plan(
    lines: Sequence[EncodedBranch], *, image_token: int, share: bool, arrange: Callable[[Forest], tuple[str, int]]
) -> Plan:
    """The forest and its layout; with ``share`` False every sequence is a tree of its own (the plain layout).

    ``arrange`` says which back end reads the forest and how many slots its rows have.
    """
    keys = [line.images if share else (number, *line.images) for number, line in enumerate(lines)]
    forest = build_forest([(key, line.read) for key, line in zip(keys, lines, strict=True)])
    sizes: dict[tuple[str, ...], int] = {}
    for line in lines:
        sizes.setdefault(line.images, int((np.asarray(line.prompt) == image_token).sum()))
    offsets = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    axes = max((len(line.positions) for line in lines if line.positions is not None), default=1)
    feature = np.full(forest.nodes, -1)
    positions = np.broadcast_to(forest.depth, (axes, forest.nodes)).copy()
    for line, path in zip(lines, forest.paths, strict=True):
        marked = path[forest.tokens[path] == image_token]
        feature[marked] = offsets[line.images] + np.arange(len(marked))
        if line.positions is not None:
            positions[:, path] = _extend(np.asarray(line.positions), len(path))
    backend, capacity = arrange(forest)
    layout = _place(forest, positions, feature, capacity=capacity)
    return Plan(tuple(lines), forest, tuple(sizes), tuple(sizes.values()), layout, backend)


def _extend(prompt: Array, length: int) -> Array:
    """Positions of prompt and reply: text after the prompt goes on by one on every axis."""
    ahead = prompt.max() + 1 + np.arange(length - prompt.shape[1])
    return np.concatenate((prompt, np.broadcast_to(ahead, (len(prompt), len(ahead)))), axis=1)


def _place(forest: Forest, positions: Array, feature: Array, *, capacity: int) -> Layout:
    sizes = np.diff(forest.starts)
    row, column = (np.asarray(part) for part in place_trees(sizes, capacity))
    rows = int(row.max()) + 1
    shift = np.repeat(row * capacity + column - forest.starts[:-1], sizes)
    slot = np.arange(forest.nodes) + shift
    tokens, filled = np.zeros(rows * capacity, np.int64), np.full(rows * capacity, -1)
    tokens[slot], filled[slot] = forest.tokens, feature
    last = np.tile(np.arange(capacity), rows)
    last[slot] = forest.last + shift - (slot // capacity) * capacity
    spread = np.zeros((len(positions), rows * capacity), np.int64)
    spread[:, slot] = positions
    by_row = (rows, capacity)
    return Layout(
        rows=rows,
        capacity=capacity,
        slot=slot,
        tokens=tokens.reshape(by_row),
        last=last.reshape(by_row),
        positions=spread.reshape(-1, *by_row),
        feature=filled.reshape(by_row),
    )
