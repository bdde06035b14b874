"""Corpus BLEU from summed n-gram counts, so that its interval resamples patients like any other metric's."""

from __future__ import annotations

import numpy as np

from medpref.evaluation.interval import Array, Combine

ORDERS = (1, 2, 3, 4)


def bleu_keys(order: int) -> tuple[str, ...]:
    """The evidence that BLEU of an order reads, in the order that ``corpus_bleu`` expects."""
    grams = [f"{what}_{n}" for what in ("matched", "total") for n in ORDERS[:order]]
    return (*grams, "reply_length", "reference_length")


def corpus_bleu(order: int) -> Combine:
    """BLEU-n = BP * exp(mean over k <= n of log(matched_k / total_k)) (Papineni et al. 2002), unsmoothed.

    BP = exp(min(0, 1 - reference length / reply length)). NaN where there is no reply at all.
    """

    def combine(sums: Array) -> Array:
        matched, total = sums[..., :order], sums[..., order : 2 * order]
        reply, reference = sums[..., -2], sums[..., -1]
        share = np.divide(matched, total, out=np.zeros_like(matched), where=total > 0)
        logs = np.log(share, out=np.full_like(share, -np.inf), where=share > 0).mean(axis=-1)
        short = np.divide(reference, reply, out=np.full_like(reply, np.inf), where=reply > 0)
        score = np.exp(logs + np.minimum(0.0, 1 - short))
        return np.where(reference > 0, score, np.nan)

    return combine
