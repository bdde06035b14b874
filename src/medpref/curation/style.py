"""Whether chosen and rejected can be told apart without the image and without the question.

A classifier of words and length that does better than chance has found a style, and so will training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from medpref.schema import CHOSEN, REJECTED, PreferencePair
from medpref.seeds import generator

LEAST_PAIRS, MOST_PAIRS, FOLDS = 20, 2000, 5
_WORD = re.compile(r"\w+|[^\w\s]")


def style_test(pairs: Sequence[PreferencePair], *, seed: int = 0) -> dict[str, Any]:
    """Cross-validated AUC of telling chosen from rejected by words and length, and by length alone.

    0.5 is good: nothing to exploit. Below 0.5 is as good (a reply that is right here is wrong elsewhere). Folds keep a
    patient's pairs together. ``auc`` is None below 20 pairs or 5 patients; at most 2,000 pairs are drawn.
    """
    both = [pair for pair in pairs if REJECTED in pair.replies]
    if len(both) > MOST_PAIRS:
        drawn = generator(seed, "style test").choice(len(both), size=MOST_PAIRS, replace=False)
        both = [both[index] for index in sorted(drawn)]
    patients = [pair.patient for pair in both]
    if len(both) < LEAST_PAIRS or len(set(patients)) < FOLDS:
        return {"auc": None, "auc_length": None, "pairs": len(both), "reason": "too few pairs or patients"}
    texts = [pair.replies[name].text for pair in both for name in (CHOSEN, REJECTED)]
    labels = np.array([1, 0] * len(both))
    groups = np.repeat(np.unique(patients, return_inverse=True)[1], 2)
    return {
        "auc": round(_auc(_bag(texts), labels, groups), 4),
        "auc_length": round(_auc(_lengths(texts), labels, groups), 4),
        "pairs": len(both),
    }


def _bag(texts: Sequence[str]) -> Any:
    """Word counts, word counts of the first word, and lengths, as a sparse matrix of shape (text, feature)."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(
        tokenizer=_WORD.findall, token_pattern=None, lowercase=False, ngram_range=(1, 2), max_features=5000
    )
    return hstack([counter.fit_transform(texts), csr_matrix(_lengths(texts))]).tocsr()


def _lengths(texts: Sequence[str]) -> np.ndarray:
    """Words, characters and a final stop, each on the scale of one: shape (text, 3)."""
    raw = np.array([[len(text.split()), len(text), text.rstrip().endswith(".")] for text in texts], dtype=np.float64)
    return raw / np.maximum(raw.max(axis=0), 1)


def _auc(features: Any, labels: np.ndarray, groups: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    scores = np.zeros(len(labels))
    for train, test in GroupKFold(FOLDS).split(features, labels, groups):
        model = LogisticRegression(solver="liblinear", max_iter=1000).fit(features[train], labels[train])
        scores[test] = model.decision_function(features[test])
    return float(roc_auc_score(labels, scores))
