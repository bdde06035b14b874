"""Does confidence mean anything? Calibration error, discrimination and risk-coverage of forced-choice confidences.

All three are functions of sums over items (of bins, or of a histogram over the distinct confidences), so they get
clustered intervals like any other metric. Confidence is the chosen answer's probability among the choices.

Knows: (confidence, right) of each row. Does not know: confidence of free text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medpref.evaluation.interval import Array, divide
from medpref.schema import VerdictRow

BINS = 10


def has_confidence(row: VerdictRow) -> bool:
    """Whether a row carries a judged decision with its confidence."""
    return row.value is not None and "confidence" in row.evidence


def _read(rows: Sequence[VerdictRow]) -> tuple[Array, Array]:
    confidence = np.array([float(row.evidence["confidence"]) for row in rows], dtype=np.float64)
    return confidence, np.array([row.value for row in rows], dtype=np.float64)


def by_bin(rows: Sequence[VerdictRow]) -> Array:
    """Confidence minus right, and 1, in the item's bin of ten equal widths over [0, 1]: [row, 2 * bin]."""
    confidence, right = _read(rows)
    table = np.zeros((len(rows), 2 * BINS))
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    table[np.arange(len(rows)), bins] = confidence - right
    table[np.arange(len(rows)), BINS + bins] = 1.0
    return table


def calibration_error(sums: Array) -> Array:
    """ECE = sum over bins of |sum of (confidence - right)| / items (Naeini et al. 2015); 0 is calibrated."""
    gap, items = np.split(sums, 2, axis=-1)
    return divide(np.abs(gap).sum(axis=-1), items.sum(axis=-1))


def by_confidence(rows: Sequence[VerdictRow]) -> Array:
    """Right and wrong items at each distinct confidence, ascending: [row, 2 * level]."""
    confidence, right = _read(rows)
    levels, place = np.unique(confidence, return_inverse=True)
    table = np.zeros((len(rows), 2 * len(levels)))
    table[np.arange(len(rows)), place] = right
    table[np.arange(len(rows)), len(levels) + place] = 1.0 - right
    return table


def discrimination(sums: Array) -> Array:
    """AUROC of confidence against correctness: P(a right answer is more confident than a wrong one), ties half."""
    right, wrong = np.split(sums, 2, axis=-1)
    below = np.cumsum(wrong, axis=-1) - wrong / 2
    return divide((right * below).sum(axis=-1), right.sum(axis=-1) * wrong.sum(axis=-1))


def risk_coverage_area(sums: Array) -> Array:
    """AURC: the error among the most confident, averaged over how many are answered (Geifman & El-Yaniv 2017).

    Equally confident answers are taken up together. Lower is better; a random order gives the error rate.
    """
    right, wrong = (part[..., ::-1] for part in np.split(sums, 2, axis=-1))
    items = right + wrong
    taken = np.cumsum(items, axis=-1)
    risk = np.divide(np.cumsum(wrong, axis=-1), taken, out=np.zeros_like(taken), where=taken > 0)
    return divide((items * risk).sum(axis=-1), items.sum(axis=-1))


def risk_at(sums: Array, coverages: Sequence[float]) -> Array:
    """The error among the most confident at each coverage: [..., 2 * level] -> [..., coverage].

    At each the fewest whole levels of confidence are taken that make up its share of all.
    """
    right, wrong = (part[..., ::-1] for part in np.split(sums, 2, axis=-1))
    taken, lost = np.cumsum(right + wrong, axis=-1), np.cumsum(wrong, axis=-1)
    wanted = [share * taken[..., -1:] * (1 - 1e-12) for share in coverages]
    place = np.stack([(taken < least).sum(axis=-1) for least in wanted], axis=-1)
    return divide(np.take_along_axis(lost, place, axis=-1), np.take_along_axis(taken, place, axis=-1))


def risk_coverage(rows: Sequence[VerdictRow]) -> list[tuple[float, float]]:
    """(coverage, risk) points of the curve, from the most confident answer to all of them."""
    sums = by_confidence([row for row in rows if has_confidence(row)]).sum(axis=0)
    right, wrong = (part[::-1] for part in np.split(sums, 2))
    taken = np.cumsum(right + wrong)
    return [(float(n / taken[-1]), float(w / n)) for n, w in zip(taken, np.cumsum(wrong), strict=True)]
