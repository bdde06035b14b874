"""Predicted work of a forest under each layout, and the choice among them. Pure: arrays in, numbers out.

The unit is one multiply-add a channel. In a decoder layer a token costs about ``12 width`` in the linears (attention
and a gated MLP of 2.7 widths), and ``PASSES`` in all that is not a product (norms, rotary embedding, activations). A
key that it sees costs 2, but stock attention kernels reach about 0.4 of the matrix products' rate, so ``KEY`` is 5.
PASSES, KEY and CALL are fitted to measurements on two CPU cores (widths 128 and 256).
"""

from __future__ import annotations

import numpy as np

from medpref.engine.trie import Array, Forest

LINEAR, PASSES, KEY = 12.0, 5e3, 5.0
CALL = 2e7
"""What the kernel calls of one more part cost, times width: 0.3 ms a layer, forward and backward."""


def rows_work(sizes: Array, capacity: int, *, width: int) -> float:
    """Work of trees of some sizes in masked rows of ``capacity`` slots, padding included."""
    rows = max(place_trees(sizes, capacity)[0]) + 1
    return rows * capacity * (LINEAR * width + PASSES + KEY * capacity)


def choose_capacity(sizes: Array, *, width: int) -> int:
    """The row length with the least predicted work, of one tree a row up to all trees in one row."""
    longest = int(sizes.max())
    choices = sorted({longest, *(longest * count for count in (2, 3, 4)), int(sizes.sum())})
    return min(choices, key=lambda capacity: rows_work(sizes, capacity, width=width))


def place_trees(sizes: Array, capacity: int) -> tuple[list[int], list[int]]:
    """Row and first column of each tree: first fit, the largest first; in order where one row holds all."""
    if sizes.sum() <= capacity:
        return [0] * len(sizes), (np.cumsum(sizes) - sizes).tolist()
    used: list[int] = []
    row, column = [0] * len(sizes), [0] * len(sizes)
    for tree in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[tree])
        fit = next((index for index, held in enumerate(used) if held + size <= capacity), len(used))
        if fit == len(used):
            used.append(0)
        row[tree], column[tree] = fit, used[fit]
        used[fit] += size
    return row, column


def find_trunks(forest: Forest) -> list[tuple[int, int, int]]:
    """First node, end of the unbranched beginning and end of each tree.

    Everything after a trunk's node descends from it: in depth-first order these are the leading nodes whose last
    descendant is the tree's last node.
    """
    trunks = []
    for start, end in zip(forest.starts[:-1].tolist(), forest.starts[1:].tolist(), strict=True):
        whole = forest.last[start:end] == end - 1
        trunks.append((start, start + int(np.cumprod(whole).sum()), end))
    return trunks


def find_branches(forest: Forest) -> list[tuple[int, int]]:
    """First node and end of each subtree that hangs from a trunk."""
    branches = []
    for _, node, end in find_trunks(forest):
        while node < end:
            branches.append((node, int(forest.last[node]) + 1))
            node = branches[-1][1]
    return branches


def bundle_branches(branches: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Branches in bundles whose shortest is at least two thirds of the longest, so that padding stays small."""
    bundles: list[list[tuple[int, int]]] = []
    for branch in sorted(branches, key=lambda one: one[0] - one[1]):
        size = branch[1] - branch[0]
        if bundles and 3 * size >= 2 * (bundles[-1][0][1] - bundles[-1][0][0]):
            bundles[-1].append(branch)
        else:
            bundles.append([branch])
    return bundles


def parts_work(forest: Forest, *, width: int) -> float:
    """Work of a forest as one packed row attended to in parts (``cascade.py``)."""
    trunks, bundles = find_trunks(forest), bundle_branches(find_branches(forest))
    keys = 0.0
    for start, middle, end in trunks:
        keys += (middle - start) ** 2 / 2 + (middle - start) * (end - middle)
    for bundle in bundles:
        keys += len(bundle) * (bundle[0][1] - bundle[0][0]) ** 2
    calls = CALL / width * (len(trunks) + len(bundles))
    return (LINEAR * width + PASSES) * forest.nodes + KEY * keys + calls
