"""Every metric as features of verdict rows and a combination of their sums; the rows are all it reads.

A row's value may be None (not judged): such an item is left out, never counted as 0. A row metric without an entry
here is reported as the mean of its values, so that a plugin's judge needs no change.

Knows: names, formulas, ranges. Does not know: how a verdict was reached, or intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medpref.evaluation.bleu import ORDERS, bleu_keys, corpus_bleu
from medpref.evaluation.calibration import (
    by_bin,
    by_confidence,
    calibration_error,
    discrimination,
    has_confidence,
    risk_coverage_area,
)
from medpref.evaluation.interval import Array, Bounds, Combine, divide, ratio
from medpref.schema import VerdictRow

Features = Callable[[Sequence[VerdictRow]], Array]
UNIT: Bounds = (0.0, 1.0)
SIGNED: Bounds = (-1.0, 1.0)
OPEN_ENDED: Bounds = (None, None)
YES_NO = ("yes", "no")
POLARITIES = ("present", "absent")


@dataclass(frozen=True)
class Metric:
    """One metric: the row metrics whose rows are its items, their features, how the sums combine, its range."""

    name: str
    reads: frozenset[str]
    features: Features
    combine: Combine = ratio
    bounds: Bounds = UNIT
    keep: Callable[[VerdictRow], bool] = lambda row: row.value is not None


def _values(rows: Sequence[VerdictRow]) -> Array:
    """(value, 1) of each row: [row, 2]."""
    return np.array([(row.value, 1.0) for row in rows], dtype=np.float64).reshape(-1, 2)


def mean_of(name: str, bounds: Bounds = OPEN_ENDED, *, reads: Sequence[str] = ()) -> Metric:
    """The mean of the values of the rows named ``reads`` (or ``name``)."""
    return Metric(name, frozenset(reads or (name,)), _values, bounds=bounds)


def _share(key: str, value: str) -> Features:
    """(evidence[key] == value, 1) of each row."""

    def features(rows: Sequence[VerdictRow]) -> Array:
        return np.array([(row.evidence.get(key, "") == value, 1.0) for row in rows], dtype=np.float64).reshape(-1, 2)

    return features


def one_hot(words: Sequence[str]) -> Array:
    """[item, class]: classes are the distinct words in alphabetical order."""
    classes = sorted(set(words))
    place = {word: index for index, word in enumerate(classes)}
    table = np.zeros((len(words), len(classes)))
    table[np.arange(len(words)), [place[word] for word in words]] = 1.0
    return table


def _by_class(rows: Sequence[VerdictRow]) -> Array:
    """Right answers of each class, then items of each class: [row, 2 * class]."""
    classes = one_hot([row.evidence.get("answer", "") for row in rows])
    right = np.array([row.value for row in rows], dtype=np.float64)
    return np.concatenate([classes * right[:, None], classes], axis=1)


def balanced(sums: Array) -> Array:
    """Balanced accuracy: the mean over the classes that occur of the share answered right (Brodersen et al. 2010)."""
    right, items = np.split(sums, 2, axis=-1)
    recall = np.divide(right, items, out=np.zeros_like(right), where=items > 0)
    return divide(recall.sum(axis=-1), (items > 0).sum(axis=-1).astype(np.float64))


def _confusion(rows: Sequence[VerdictRow]) -> Array:
    """(right, item, answer one-hot, parsed one-hot) of each row over one list of classes: [row, 2 + 2 * class]."""
    answers = [row.evidence.get("answer", "") for row in rows]
    parsed = [row.evidence.get("parsed", "") for row in rows]
    both = one_hot([*answers, *parsed])
    right = np.array([answer == reply for answer, reply in zip(answers, parsed, strict=True)], dtype=np.float64)
    return np.column_stack([right, np.ones(len(rows)), both[: len(rows)], both[len(rows) :]])


def matthews(sums: Array) -> Array:
    """Matthews correlation for any number of classes (R_K; Gorodkin 2004), 0 where one side never varies.

    An unparsed reply is a class of its own that no reference has, so it can only lower the value.
    """
    right, items, counts = sums[..., 0], sums[..., 1], sums[..., 2:]
    actual, claimed = np.split(counts, 2, axis=-1)
    above = right * items - (actual * claimed).sum(axis=-1)
    below = np.sqrt((items**2 - (actual**2).sum(axis=-1)) * (items**2 - (claimed**2).sum(axis=-1)))
    undefined = np.where(items > 0, 0.0, np.nan)
    return np.divide(above, below, out=undefined, where=below > 0)


def _is_yes_no(row: VerdictRow) -> bool:
    return row.value is not None and row.evidence.get("answer", "") in YES_NO


def _counts(*keys: str) -> Features:
    """The numbers that rows carry as evidence: [row, key]."""

    def features(rows: Sequence[VerdictRow]) -> Array:
        table = [[float(row.evidence.get(key, 0)) for key in keys] for row in rows]
        return np.array(table, dtype=np.float64).reshape(-1, len(keys))

    return features


def f1(sums: Array) -> Array:
    """2 hits / (claimed + reference) over sums (hits, claimed, reference)."""
    return divide(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def _report(name: str, *keys: str, combine: Combine = ratio) -> Metric:
    """A quotient of finding counts, over the reports that add to its divisor."""

    def counts(row: VerdictRow) -> bool:
        return any(row.evidence.get(key, "0") != "0" for key in keys[1:])

    return Metric(name, frozenset({"report_findings"}), _counts(*keys), combine, keep=counts)


def _bleu(order: int) -> Metric:
    return Metric(f"bleu_{order}", frozenset({"report_bleu"}), _counts(*bleu_keys(order)), corpus_bleu(order))


def _confidence(name: str, features: Features, combine: Combine) -> Metric:
    return Metric(name, frozenset({"choice_accuracy"}), features, combine, keep=has_confidence)


def _finding_metrics(polarity: str) -> tuple[Metric, ...]:
    hits, claimed, reference = (f"{polarity}_{what}" for what in ("hits", "claimed", "reference"))
    return (
        _report(f"finding_precision_{polarity}", hits, claimed),
        _report(f"finding_recall_{polarity}", hits, reference),
        _report(f"finding_f1_{polarity}", hits, claimed, reference, combine=f1),
    )


_CLOSED = frozenset({"closed_accuracy"})
METRICS: tuple[Metric, ...] = (
    mean_of("overall_accuracy", UNIT, reads=("closed_accuracy", "open_exact")),
    mean_of("closed_accuracy", UNIT),
    Metric("closed_balanced_accuracy", _CLOSED, _by_class, balanced),
    Metric("closed_mcc", _CLOSED, _confusion, matthews, bounds=SIGNED, keep=_is_yes_no),
    Metric("closed_yes_rate", _CLOSED, _share("parsed", "yes"), keep=_is_yes_no),
    Metric("closed_unparsed", _CLOSED, _share("parsed", "")),
    mean_of("open_exact", UNIT),
    mean_of("open_recall", UNIT),
    mean_of("open_f1", UNIT),
    mean_of("open_set_f1", UNIT),
    mean_of("constant_accuracy", UNIT),
    mean_of("gain_over_constant", SIGNED),
    *(metric for polarity in POLARITIES for metric in _finding_metrics(polarity)),
    _report("unsupported_claim_rate", "unsupported", "present_claimed"),
    mean_of("fact_completeness", UNIT),
    mean_of("fact_contradiction", UNIT),
    *(_bleu(order) for order in ORDERS),
    mean_of("rouge_l", UNIT),
    mean_of("meteor", UNIT),
    mean_of("cider", (0.0, 10.0)),
    mean_of("grounding_drop"),
    mean_of("report_grounding_drop"),
    mean_of("flip_rate_lesion", UNIT),
    mean_of("flip_rate_background", UNIT),
    mean_of("grounding_flip", SIGNED),
    mean_of("counterfactual_accuracy", UNIT),
    mean_of("counterfactual_flip", UNIT),
    mean_of("choice_accuracy", UNIT),
    mean_of("blind_accuracy", UNIT),
    mean_of("question_blind_accuracy", UNIT),
    mean_of("wrong_image_accuracy", UNIT),
    mean_of("visual_reliance", SIGNED),
    mean_of("blind_drop"),
    mean_of("answer_log_prob"),
    mean_of("attention_ratio"),
    mean_of("attention_kl"),
    mean_of("attention_js", UNIT),
    _confidence("ece", by_bin, calibration_error),
    _confidence("auroc", by_confidence, discrimination),
    _confidence("aurc", by_confidence, risk_coverage_area),
    mean_of("legacy_closed_substring", UNIT),
    mean_of("legacy_open_recall", UNIT),
)
BY_NAME = {metric.name: metric for metric in METRICS}
_READ = frozenset(name for metric in METRICS for name in metric.reads)


def metrics_of(rows: Sequence[VerdictRow]) -> list[Metric]:
    """The metrics that these rows speak of: the known ones in their order, then means of unknown row metrics."""
    found = {row.metric for row in rows}
    known = [metric for metric in METRICS if metric.reads & found]
    return known + [mean_of(name) for name in sorted(found - _READ)]
