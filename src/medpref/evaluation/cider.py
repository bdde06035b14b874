"""CIDEr-D of replies against one reference each (Vedantam, Zitnick & Parikh 2015, equations 2-5 with the D changes)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

SIGMA_WORDS = 6.0
ORDERS = (1, 2, 3, 4)
SCALE = 10.0
Grams = tuple[Mapping[tuple[str, ...], float], ...]


def cider(references: Sequence[Sequence[str]], replies: Sequence[Sequence[str]]) -> list[float]:
    """Each reply's CIDEr-D, 0 to 10; an n-gram's weight falls with the number of references that have it.

    With one document every weight is log(1) = 0, so scores are 0: CIDEr needs a corpus.
    """
    frequency: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        frequency.update({gram for order in ORDERS for gram in _grams(reference, order)})
    documents = math.log(len(references)) if references else 0.0
    return [
        _score(
            _weigh(reference, frequency, documents), _weigh(reply, frequency, documents), len(reply) - len(reference)
        )
        for reference, reply in zip(references, replies, strict=True)
    ]


def _grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def _weigh(words: Sequence[str], frequency: Mapping[tuple[str, ...], int], documents: float) -> Grams:
    """Per order, count * (log documents - log document frequency); an unseen n-gram counts as seen once."""
    return tuple(
        {
            gram: count * (documents - math.log(max(1, frequency.get(gram, 0))))
            for gram, count in _grams(words, order).items()
        }
        for order in ORDERS
    )


def _score(reference: Grams, reply: Grams, extra_words: int) -> float:
    """10 / 4 * sum over orders of exp(-extra^2 / (2 sigma^2)) * sum min(h, r) r / (|h| |r|)."""
    total = 0.0
    for wanted, given in zip(reference, reply, strict=True):
        norm = _norm(wanted) * _norm(given)
        if norm > 0:
            total += (
                sum(min(value, wanted.get(gram, 0.0)) * wanted.get(gram, 0.0) for gram, value in given.items()) / norm
            )
    return SCALE * math.exp(-(extra_words**2) / (2 * SIGMA_WORDS**2)) * total / len(ORDERS)


def _norm(weights: Mapping[tuple[str, ...], float]) -> float:
    return math.sqrt(sum(value**2 for value in weights.values()))
