import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.meteor_score import single_meteor_score
from sacrebleu.metrics.bleu import BLEU

from medpref.evaluation.bleu import bleu_keys, corpus_bleu
from medpref.evaluation.cider import cider
from medpref.evaluation.metrics import METRICS
from medpref.evaluation.text import meteor, rouge_l, text_rows, words
from tests.evaluation.studies import studies

REFERENCES = [
    "There is a small left pleural effusion. The heart is enlarged.",
    "No pneumothorax. The lungs are clear and the heart size is normal.",
    "There is consolidation in the right lower zone with a nodule above it.",
]
REPLIES = [
    "There is a large left pleural effusion. The heart is not enlarged.",
    "No pneumothorax or effusion. The lungs are clear, the heart size is normal.",
    "There are nodules and consolidations in the right lower zone.",
]


class NoSynonyms:
    def synsets(self, word):
        return []


vocabulary = st.lists(
    st.sampled_from(["no", "effusion", "effusions", "nodule", "nodules", "left", "heart", "enlarged", "enlarging"]),
    min_size=1,
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(vocabulary, vocabulary)
def test_meteor_is_nltks_without_synonyms(reference, reply):
    expected = single_meteor_score(reference, reply, wordnet=NoSynonyms(), alpha=0.9, beta=3.0, gamma=0.5)
    assert meteor(reference, reply) == pytest.approx(expected)


def test_meteor_by_hand():
    assert meteor(["no", "effusion"], ["mass"]) == 0.0
    one_chunk = meteor(["a", "b", "c", "d"], ["a", "b", "c", "d"])
    assert one_chunk == pytest.approx(1 - 0.5 / 4**3)
    assert meteor(["nodule"], ["nodules"]) == pytest.approx(0.5)


def corpus(references, replies, order):
    sums = None
    for example, reply in zip(references, replies, strict=True):
        features = bleu_features(example, reply, order)
        sums = features if sums is None else sums + features
    return float(corpus_bleu(order)(sums))


def bleu_features(reference, reply, order):
    import numpy as np

    score = BLEU(lowercase=True, effective_order=True).sentence_score(reply, [reference])
    return np.array([*score.counts[:order], *score.totals[:order], score.sys_len, score.ref_len], float)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_of_rows_is_sacrebleus_corpus_score(order, tmp_path):
    examples = [
        example.model_copy(update={"answer": text})
        for example, text in zip([e for e in studies(tmp_path, 3) if e.kind == "report"], REFERENCES, strict=True)
    ]
    rows = [row for held in text_rows(examples, REPLIES) for row in held if row.metric == "report_bleu"]
    metric = next(one for one in METRICS if one.name == f"bleu_{order}")
    found = float(metric.combine(metric.features(rows).sum(axis=0)))
    expected = BLEU(lowercase=True, max_ngram_order=order).corpus_score(REPLIES, [REFERENCES]).score / 100
    assert found == pytest.approx(expected)
    assert bleu_keys(order)[-1] == "reference_length"


def test_bleu_punishes_short_replies_and_is_not_smoothed():
    assert corpus(["a b c d e f"], ["a b c d"], 2) == pytest.approx(math.exp(1 - 6 / 4))
    assert corpus(["a b c"], ["c b a"], 2) == 0.0
    assert corpus(["a b c"], [""], 1) == 0.0


def naive_cider(references, replies):
    """Written from the paper, n-gram by n-gram, with vectors over the union vocabulary."""
    total = len(references)

    def grams(text, n):
        return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]

    scores = []
    for reference, reply in zip(references, replies, strict=True):
        by_order = []
        for n in range(1, 5):
            both = sorted(set(grams(reference, n)) | set(grams(reply, n)))
            idf = {
                g: math.log(total) - math.log(max(1, sum(g in grams(other, n) for other in references))) for g in both
            }
            r = [grams(reference, n).count(g) * idf[g] for g in both]
            h = [grams(reply, n).count(g) * idf[g] for g in both]
            clipped = [min(a, b) for a, b in zip(h, r, strict=True)]
            norms = math.hypot(*r, 0.0) * math.hypot(*h, 0.0)
            by_order.append(sum(c * b for c, b in zip(clipped, r, strict=True)) / norms if norms else 0.0)
        penalty = math.exp(-((len(reply) - len(reference)) ** 2) / (2 * 6.0**2))
        scores.append(10 * penalty * sum(by_order) / 4)
    return scores


def test_cider_is_the_naive_one():
    references, replies = [words(text) for text in REFERENCES], [words(text) for text in REPLIES]
    assert cider(references, replies) == pytest.approx(naive_cider(references, replies))
    assert cider(references, references) == pytest.approx([10.0, 10.0, 10.0])


def test_cider_of_words_that_every_reference_has_is_zero():
    assert cider([["normal"], ["normal"]], [["normal"], ["normal"]]) == [0.0, 0.0]
    assert cider([], []) == []


def test_rouge_l_by_hand():
    assert rouge_l("no left effusion", "no effusion") == pytest.approx(2 * 1.0 * (2 / 3) / (1 + 2 / 3))
