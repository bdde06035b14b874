"""Exact nearest neighbours under a weighted sum of standardised distances (CheXPO's retrieval, with its scales mended).

D(q, g) = sum_m w_m (d_m(q, g) - mean_m) / std_m, with d = 1 - cosine for images and texts and the Hamming share for
findings; mean and std over random pairs, so that no distance drowns another. Search is exact: one product in float32
proposes every row that its rounding cannot rule out, and D in float64 ranks them. With non-negative weights D is a
squared Euclidean distance of stacked rows, which FAISS (if installed) searches too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medpref.curation.features import COSINE, Rows
from medpref.errors import RecipeError

Index = Literal["auto", "exact", "faiss"]
CHUNK, BLOCK, RANDOM_PAIRS, TINY = 256, 128, 4000, 1e-6


class Scale(NamedTuple):
    """Mean and standard deviation of a distance over random pairs."""

    mean: float
    std: float


class Space(NamedTuple):
    """Features with the weight and the scale of each one's distance."""

    rows: Mapping[str, Rows]
    weights: Mapping[str, float]
    scales: Mapping[str, Scale]


def space(rows: Mapping[str, Rows], weights: Mapping[str, float], rng: np.random.Generator) -> Space:
    """The space of these features; each distance's scale is measured over random pairs of different rows."""
    first, second = _random_pairs(len(next(iter(rows.values()))), rng)
    scales = {}
    for name, values in rows.items():
        distance = _paired(values[first], values[second], name)
        scales[name] = Scale(float(distance.mean()), float(max(distance.std(), TINY)))
    return Space(rows, {name: float(weights.get(name, 1.0)) for name in rows}, scales)


def _paired(a: Rows, b: Rows, name: str) -> NDArray[np.float64]:
    if name in COSINE:
        return 1.0 - np.einsum("nd,nd->n", a, b, dtype=np.float64)
    return np.mean(a != b, axis=1)


def distances(where: Space, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """D of each pair of rows, summed by itself: the last bit does not depend on what else is measured."""
    total = np.zeros(len(first))
    for name, values in where.rows.items():
        raw = _paired(values[first], values[second], name)
        total += where.weights[name] * (raw - where.scales[name].mean) / where.scales[name].std
    return total


def random_distances(where: Space, rng: np.random.Generator) -> NDArray[np.float64]:
    """D over random pairs of different rows: what a ceiling is a quantile of."""
    return distances(where, *_random_pairs(len(next(iter(where.rows.values()))), rng))


def _random_pairs(count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first = rng.integers(count, size=RANDOM_PAIRS)
    return first, (first + rng.integers(1, max(2, count), size=RANDOM_PAIRS)) % count


def search(
    where: Space,
    queries: Sequence[int],
    gallery: Sequence[int],
    *,
    k: int,
    barred: Mapping[int, frozenset[int]],
    index: Index = "exact",
) -> list[list[tuple[int, float]]]:
    """The ``k`` nearest gallery rows of each query with their D, nearest first, ties by row; never a barred row."""
    asked, held = np.asarray(queries, dtype=np.int64), np.asarray(gallery, dtype=np.int64)
    if chosen(index, where) == "faiss" and len(held):
        return _faiss(where, asked, held, k=k, barred=barred)
    found = []
    left, right, margin = _sides(where)
    right = right[held].T.copy()
    for start in range(0, len(asked), CHUNK):
        block = asked[start : start + CHUNK]
        reach = k + max(len(barred[int(query)]) for query in block)
        near = _proposed(left[block] @ right, reach, margin)
        for query, close in zip(block, near, strict=True):
            found.append(_nearest(where, int(query), held[close], k, barred[int(query)]))
    return found


def _sides(where: Space) -> tuple[Rows, Rows, float]:
    """Two matrices whose rows' product is D but for a constant of the query, and twice what float32 can err in it.

    A product of n terms errs by at most about n eps sum |a b|, eps = 2^-24 (Higham, 2002, section 3.1).
    """
    left: list[Rows] = []
    right: list[Rows] = []
    error = 0.0
    for name, values in where.rows.items():
        scale, width = where.weights[name] / where.scales[name].std, values.shape[1]
        rows = values.astype(np.float32)
        if name in COSINE:
            left, right = [*left, -scale * rows], [*right, rows]
            size = float((rows**2).sum(axis=1).max(initial=0.0))
        else:
            left += [-2 * scale / width * rows, np.full((len(rows), 1), scale / width, np.float32)]
            right += [rows, rows.sum(axis=1, keepdims=True)]
            size = 3.0
        error += abs(scale) * size
    terms = sum(part.shape[1] for part in left) + 4
    joined = (np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float32) for parts in (left, right))
    return *joined, 4 * terms * error * 2.0**-24


def _proposed(rough: Rows, reach: int, margin: float) -> list[NDArray[np.int64]]:
    """The columns of each row that may be among its ``reach`` smallest.

    The ``reach``-th smallest of the minima of blocks is no smaller than the ``reach``-th smallest of all.
    """
    queries, count = rough.shape
    blocks = count // BLOCK
    most = rough
    if blocks >= reach:
        most = rough[:, : blocks * BLOCK].reshape(queries, BLOCK, blocks).min(axis=1)
    if reach >= most.shape[1]:
        return [np.arange(count)] * queries
    limit = np.partition(most, reach - 1, axis=1)[:, reach - 1] + margin
    row, column = np.divmod(np.flatnonzero(rough <= limit[:, None]), count)
    return np.split(column, np.cumsum(np.bincount(row, minlength=queries))[:-1])


def _nearest(
    where: Space, query: int, rows: NDArray[np.int64], k: int, barred: frozenset[int]
) -> list[tuple[int, float]]:
    """The ``k`` nearest of the rows proposed, measured in float64."""
    values = distances(where, np.full(len(rows), query), rows)
    ordered = sorted((float(value), int(row)) for value, row in zip(values, rows, strict=True) if row not in barred)
    return [(row, value) for value, row in ordered[:k]]


def chosen(index: Index, where: Space) -> Literal["exact", "faiss"]:
    """Which search is used; ``auto`` is exact search, which is faster than FAISS's flat index (``docs/log.md``)."""
    if index != "faiss":
        return "exact"
    usable = min(where.weights.values(), default=0.0) >= 0
    if not usable or importlib.util.find_spec("faiss") is None:
        given = "no package faiss" if usable else "a negative weight"
        raise RecipeError("index: faiss", given=given, expected="FAISS and weights >= 0", todo="use index: exact")
    return "faiss"


def stacked(where: Space) -> Rows:
    """Rows whose squared Euclidean distance is D plus a constant (weights must not be negative)."""
    parts = []
    for name, values in where.rows.items():
        scale = where.weights[name] / where.scales[name].std
        parts.append(values * np.sqrt(scale / (2 if name in COSINE else values.shape[1])))
    return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float32)


def _faiss(
    where: Space,
    queries: NDArray[np.int64],
    gallery: NDArray[np.int64],
    *,
    k: int,
    barred: Mapping[int, frozenset[int]],
) -> list[list[tuple[int, float]]]:
    """FAISS proposes, D itself ranks: float32 proposals are re-measured exactly."""
    import faiss

    rows = stacked(where)
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows[gallery])
    found = []
    for start in range(0, len(queries), CHUNK):
        block = queries[start : start + CHUNK]
        reach = min(len(gallery), 2 * k + max(len(barred[int(query)]) for query in block) + 8)
        _, near = index.search(rows[block], reach)
        for query, close in zip(block, gallery[near], strict=True):
            found.append(_nearest(where, int(query), close, k, barred[int(query)]))
    return found
