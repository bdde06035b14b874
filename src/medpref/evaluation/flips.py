"""What alignment changed answer by answer: the flip matrix of two models, with McNemar's exact test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from medpref.schema import VerdictRow


class Flips(NamedTuple):
    """Counts of (before -> after) over the items that both judged, and McNemar's exact two-sided p."""

    right_right: int
    right_wrong: int
    wrong_right: int
    wrong_wrong: int
    p: float


def flips(before: Sequence[VerdictRow], after: Sequence[VerdictRow], metrics: Sequence[str] = ()) -> Flips:
    """The flip matrix over items with value 0 or 1; ``metrics`` defaults to closed accuracy and open exact match.

    McNemar's test takes items as independent; for many questions per patient ``compare`` has the clustered p.
    """
    names = tuple(metrics) or ("closed_accuracy", "open_exact")
    first, second = ({(row.example, row.metric): row.value for row in rows} for rows in (before, after))
    counts: Counter[tuple[bool, bool]] = Counter()
    for item, was in first.items():
        now = second.get(item)
        if item[1] in names and was is not None and now is not None:
            counts[was == 1.0, now == 1.0] += 1
    lost, won = counts[True, False], counts[False, True]
    return Flips(counts[True, True], lost, won, counts[False, False], mcnemar(lost, won))


def mcnemar(lost: int, won: int) -> float:
    """Two-sided exact p that changes in either direction are equally likely: a binomial test with p = 1/2.

    >>> mcnemar(1, 5)
    0.21875
    """
    total = lost + won
    tail = sum(math.comb(total, k) for k in range(min(lost, won) + 1)) / 2**total
    return min(1.0, 2 * tail)
