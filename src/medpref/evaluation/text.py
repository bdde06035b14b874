"""How a report's words overlap with the reference's: BLEU-1..4, ROUGE-L, METEOR and CIDEr, without Java.

BLEU is sacrebleu's n-gram counts (13a tokens, lower case), summed over the corpus, so its interval resamples patients
like any other. ROUGE-L is rouge-score's F-measure. METEOR matches words exactly, then by Porter stem (no synonyms).

Knows: strings. Does not know: medicine; a flipped "no" hardly moves these numbers, see ``findings.py``.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence

from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from medpref.evaluation.bleu import ORDERS
from medpref.evaluation.cider import cider
from medpref.evaluation.vqa import row_of
from medpref.schema import Example, VerdictRow

METEOR_ALPHA, METEOR_BETA, METEOR_GAMMA = 0.9, 3.0, 0.5
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Lower-case words without punctuation.

    >>> words("No effusion, no mass.")
    ['no', 'effusion', 'no', 'mass']
    """
    return _WORD.findall(text.lower())


def text_rows(examples: Sequence[Example], replies: Sequence[str]) -> list[list[VerdictRow]]:
    """Each report's rows; CIDEr's word weights come from the references of all reports given."""
    scores = cider([words(example.answer) for example in examples], [words(reply) for reply in replies])
    return [
        [
            bleu_row(example, reply),
            row_of(example, "rouge_l", rouge_l(example.answer, reply)),
            row_of(example, "meteor", meteor(words(example.answer), words(reply))),
            row_of(example, "cider", score),
        ]
        for example, reply, score in zip(examples, replies, scores, strict=True)
    ]


def bleu_row(example: Example, reply: str) -> VerdictRow:
    """``report_bleu``: n-gram counts for the corpus score as evidence; its value is the report's own BLEU-4."""
    score = _bleu().sentence_score(reply, [example.answer])
    counts = {f"matched_{n}": str(score.counts[n - 1]) for n in ORDERS}
    counts |= {f"total_{n}": str(score.totals[n - 1]) for n in ORDERS}
    counts |= {"reply_length": str(score.sys_len), "reference_length": str(score.ref_len)}
    return row_of(example, "report_bleu", score.score / 100, reason="n-gram counts", evidence=counts)


@functools.cache
def _bleu() -> BLEU:
    return BLEU(lowercase=True, effective_order=True)


@functools.cache
def _rouge() -> RougeScorer:
    return RougeScorer(["rougeL"], use_stemmer=False)


def rouge_l(reference: str, reply: str) -> float:
    """ROUGE-L F-measure: the longest common subsequence against both lengths (Lin 2004)."""
    return float(_rouge().score(reference, reply)["rougeL"].fmeasure)


@functools.cache
def _stemmer() -> PorterStemmer:
    return PorterStemmer()


def meteor(reference: Sequence[str], reply: Sequence[str]) -> float:
    """METEOR of two word lists with the exact and stem modules (Banerjee & Lavie 2005; Lavie & Agarwal 2007).

    (1 - gamma * (chunks / matches)^beta) * P R / (alpha P + (1 - alpha) R). Words are aligned from the right, as
    nltk does, not with the fewest chunks possible.
    """
    pairs = _align(reference, reply)
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(reply), len(pairs) / len(reference)
    mean = precision * recall / (METEOR_ALPHA * precision + (1 - METEOR_ALPHA) * recall)
    joined = sum(later == (one + 1, other + 1) for (one, other), later in itertools.pairwise(pairs))
    penalty = METEOR_GAMMA * ((len(pairs) - joined) / len(pairs)) ** METEOR_BETA
    return (1 - penalty) * mean


def _align(reference: Sequence[str], reply: Sequence[str]) -> list[tuple[int, int]]:
    """(place in the reply, place in the reference) of matched words, by place in the reply."""
    left, right = list(enumerate(reply)), list(enumerate(reference))
    pairs = []
    for form in (str, _stemmer().stem):
        target = [(place, form(word)) for place, word in right]
        rest = []
        for place, word in reversed(left):
            stem = form(word)
            hit = next((index for index in reversed(range(len(target))) if target[index][1] == stem), None)
            if hit is None:
                rest.append((place, word))
            else:
                pairs.append((place, target.pop(hit)[0]))
        left = rest[::-1]
        kept = {place for place, _ in target}
        right = [(place, word) for place, word in right if place in kept]
    return sorted(pairs)
