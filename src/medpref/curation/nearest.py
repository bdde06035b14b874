"""Exact nearest neighbours under a weighted sum of standardised distances (CheXPO's retrieval, with its scales mended).

D(q, g) = sum_m w_m (d_m(q, g) - mean_m) / std_m, with d = 1 - cosine for images and texts and the Hamming share for
findings; mean and std over random pairs, so that no distance drowns another. Search is exact and chunked; with
non-negative weights D is a squared Euclidean distance of stacked rows, which FAISS (if installed) searches too.
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
CHUNK, RANDOM_PAIRS, TINY = 256, 4000, 1e-6


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
    count = len(next(iter(rows.values())))
    first = rng.integers(count, size=RANDOM_PAIRS)
    second = (first + rng.integers(1, max(2, count), size=RANDOM_PAIRS)) % count
    scales = {}
    for name, values in rows.items():
        distance = _paired(values[first], values[second], name)
        scales[name] = Scale(float(distance.mean()), float(max(distance.std(), TINY)))
    return Space(rows, {name: float(weights.get(name, 1.0)) for name in rows}, scales)


def _paired(a: Rows, b: Rows, name: str) -> NDArray[np.float64]:
    if name in COSINE:
        return 1.0 - np.einsum("nd,nd->n", a, b, dtype=np.float64)
    return np.mean(a != b, axis=1)


def distances(where: Space, queries: NDArray[np.int64], gallery: NDArray[np.int64]) -> NDArray[np.float64]:
    """D for every query and gallery row: shape (query, gallery)."""
    return _to(where, queries, taken(where, gallery))


def taken(where: Space, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """These rows of every feature in float64: what many queries are held against is taken once."""
    return {name: values[rows].astype(np.float64) for name, values in where.rows.items()}


def _to(where: Space, queries: NDArray[np.int64], held: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    total = np.zeros((len(queries), len(next(iter(held.values())))))
    for name, values in where.rows.items():
        q, g = values[queries].astype(np.float64), held[name]
        if name in COSINE:
            raw = 1.0 - q @ g.T
        else:
            raw = (q.sum(axis=1)[:, None] + g.sum(axis=1)[None] - 2 * (q @ g.T)) / values.shape[1]
        total += where.weights[name] * (raw - where.scales[name].mean) / where.scales[name].std
    return total


def random_distances(where: Space, rng: np.random.Generator) -> NDArray[np.float64]:
    """D over random pairs of different rows: what a ceiling is a quantile of."""
    count = len(next(iter(where.rows.values())))
    first = rng.integers(count, size=RANDOM_PAIRS)
    second = (first + rng.integers(1, max(2, count), size=RANDOM_PAIRS)) % count
    total = np.zeros(RANDOM_PAIRS)
    for name, values in where.rows.items():
        raw = _paired(values[first], values[second], name)
        total += where.weights[name] * (raw - where.scales[name].mean) / where.scales[name].std
    return total


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
    rows = taken(where, held)
    for start in range(0, len(asked), CHUNK):
        block = asked[start : start + CHUNK]
        found += [_top(row, held, k, barred[int(q)]) for q, row in zip(block, _to(where, block, rows), strict=True)]
    return found


def _top(
    row: NDArray[np.float64], gallery: NDArray[np.int64], k: int, barred: frozenset[int]
) -> list[tuple[int, float]]:
    reach = min(len(row), k + len(barred))
    near = np.argpartition(row, reach - 1)[:reach] if reach else np.array([], dtype=np.int64)
    near = np.flatnonzero(row <= row[near].max()) if reach else near
    ordered = sorted((float(row[place]), int(gallery[place])) for place in near if int(gallery[place]) not in barred)
    return [(index, distance) for distance, index in ordered[:k]]


def chosen(index: Index, where: Space) -> Literal["exact", "faiss"]:
    """Which search is used; ``auto`` takes FAISS where it is installed and no weight is negative."""
    usable = min(where.weights.values(), default=0.0) >= 0
    installed = importlib.util.find_spec("faiss") is not None
    if index == "faiss" and not (usable and installed):
        given = "no package faiss" if usable else "a negative weight"
        raise RecipeError("index: faiss", given=given, expected="FAISS and weights >= 0", todo="use index: exact")
    return "faiss" if index != "exact" and usable and installed else "exact"


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
            found.append(_top(distances(where, query[None], close)[0], close, k, barred[int(query)]))
    return found
