"""Token overlap of a reply with the reference."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from medpref.language.answers import tokens
from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict


class Overlap(NamedTuple):
    """Multiset token overlap: ``recall`` over the reference's tokens, ``precision`` over the reply's, and their F1."""

    recall: float
    precision: float
    f1: float


def overlap(reference: str, reply: str) -> Overlap:
    """Token recall, precision and F1 of a reply in normal form, repeated words counted; 0 where nothing is shared."""
    ours, theirs = Counter(tokens(reference)), Counter(tokens(reply))
    shared = (ours & theirs).total()
    if not shared:
        return Overlap(0.0, 0.0, 0.0)
    recall, precision = shared / ours.total(), shared / theirs.total()
    return Overlap(recall, precision, 2 * recall * precision / (recall + precision))


@JUDGES.add
class TokenOverlap(Frozen):
    """Token recall (the literature's "recall"), precision or F1 against the reference, in [0, 1]."""

    kind: Literal["overlap"] = "overlap"
    measure: Literal["recall", "precision", "f1"] = "f1"

    def judge(self, example: Example, reply: str) -> Verdict:
        if not tokens(example.answer):
            return Verdict(None, "the reference has no words")
        value: float = getattr(overlap(example.answer, reply), self.measure)
        return Verdict(value, f"token {self.measure}")
