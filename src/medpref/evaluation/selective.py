"""Risk-coverage curves of stored replies and verdicts: how wrong a model is when it answers only what it is sure of.

Two kinds of confidence, neither of which asks the model anything again: ``choice``, the probability of a forced choice
among its alternatives (in the verdict's evidence), and ``reply``, the mean probability of a free reply's tokens, exp of
the mean of their logarithms (stored with the reply; a length does not make a reply unsure).

Knows: verdict rows and replies. Does not know: models, or what a page shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from medpref.evaluation.calibration import by_confidence, has_confidence, risk_at, risk_coverage_area
from medpref.evaluation.interval import Array, cluster_sums, percentiles, resample
from medpref.schema import CLEAN, OwnReply, VerdictRow
from medpref.seeds import generator

CHOICE, REPLY = "choice", "reply"
RIGHT = ("closed_accuracy", "open_exact")
COVERAGES = tuple(step / 20 for step in range(1, 21))
DIGITS = 3


def risk_curves(rows: Iterable[VerdictRow], replies: Iterable[OwnReply], *, seed: int) -> list[dict[str, Any]]:
    """The curve of each kind of confidence that is there, with its area (AURC) and 95 % intervals over patients.

    ``{"confidence", "area": {value, low, high}, "points": [{coverage, value, low, high}], "items", "clusters"}``; a
    point's value is the share wrong among the most confident share ``coverage`` (equally confident answers are taken up
    together). Ends are None with one patient. Lower is better, and a confidence that says nothing lies at the error of
    coverage 1 throughout.
    """
    held = list(rows)
    known = {
        CHOICE: [row for row in held if row.metric == "choice_accuracy" and has_confidence(row)],
        REPLY: _by_reply(held, replies),
    }
    return [_curve(name, part, seed=seed) for name, part in known.items() if part]


def _by_reply(rows: Sequence[VerdictRow], replies: Iterable[OwnReply]) -> list[VerdictRow]:
    """The rows that judge a reply right or wrong, with the reply's confidence as evidence, rounded to 0.001."""
    sure = {
        reply.example: math.exp(sum(reply.log_probs) / len(reply.log_probs))
        for reply in replies
        if reply.view == CLEAN and reply.log_probs
    }
    return [
        row.model_copy(update={"evidence": {"confidence": f"{sure[row.example]:.{DIGITS}f}"}})
        for row in rows
        if row.metric in RIGHT and row.value is not None and row.example in sure
    ]


def _curve(name: str, rows: Sequence[VerdictRow], *, seed: int) -> dict[str, Any]:
    patients = [row.patient for row in rows]
    sums = cluster_sums(by_confidence(rows), patients)
    several = len(sums) > 1
    drawn = resample(len(sums), generator(seed, "risk coverage", name)) @ sums if several else None
    values = _measured(sums.sum(axis=0))
    spread = _measured(drawn) if drawn is not None else None
    ends = [
        (None, None) if spread is None else _around(value, spread[:, place], patients=len(sums))
        for place, value in enumerate(values)
    ]
    area, *points = (
        {"value": float(value), "low": low, "high": high} for value, (low, high) in zip(values, ends, strict=True)
    )
    at = [{"coverage": coverage, **point} for coverage, point in zip(COVERAGES, points, strict=True)]
    return {"confidence": name, "area": area, "points": at, "items": len(rows), "clusters": len(sums)}


def _measured(sums: Array) -> Array:
    """The area, then the risk at each coverage: [..., 2 * level] -> [..., 1 + coverage]."""
    return np.concatenate([risk_coverage_area(sums)[..., None], risk_at(sums, COVERAGES)], axis=-1)


def _around(value: float, draws: Array, *, patients: int) -> tuple[float, float]:
    low, high = percentiles(draws, patients)
    return min(low, float(value)), max(high, float(value))
