import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from medpref.evaluation.metrics import METRICS, metrics_of
from medpref.schema import VerdictRow

NAMED = {metric.name: metric for metric in METRICS}


def row(metric, value, *, example="e", patient="p", **evidence):
    return VerdictRow(example=example, patient=patient, metric=metric, value=value, evidence=evidence)


def closed(answers, parsed):
    return [
        row("closed_accuracy", float(a == b), example=str(i), answer=a, parsed=b)
        for i, (a, b) in enumerate(zip(answers, parsed, strict=True))
    ]


def value(name, rows):
    metric = NAMED[name]
    kept = [one for one in rows if one.metric in metric.reads and metric.keep(one)]
    return float(metric.combine(metric.features(kept).sum(axis=0)))


words = st.sampled_from(["left", "right", "both"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=30))
def test_balanced_accuracy_is_sklearns(pairs):
    answers, parsed = [list(side) for side in zip(*pairs, strict=True)]
    recalls = oracle.recall_score(answers, parsed, labels=sorted(set(answers)), average="macro", zero_division=0)
    assert value("closed_balanced_accuracy", closed(answers, parsed)) == pytest.approx(recalls)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["yes", "no", ""])), min_size=1, max_size=30))
def test_mcc_is_sklearns_with_unparsed_as_a_class(pairs):
    answers, parsed = [list(side) for side in zip(*pairs, strict=True)]
    assume(len({*answers, *parsed}) > 1)
    expected = oracle.matthews_corrcoef(answers, parsed)
    assert value("closed_mcc", closed(answers, parsed)) == pytest.approx(expected, abs=1e-12)


def test_yes_rate_and_unparsed_by_hand():
    rows = closed(["yes", "no", "no", "left"], ["yes", "yes", "", "left"])
    assert value("closed_yes_rate", rows) == pytest.approx(2 / 3)
    assert value("closed_unparsed", rows) == 0.25
    assert value("closed_accuracy", rows) == 0.5


def test_a_constant_answer_earns_half_and_no_correlation():
    rows = closed(["no"] * 9 + ["yes"], ["no"] * 10)
    assert value("closed_accuracy", rows) == 0.9
    assert value("closed_balanced_accuracy", rows) == 0.5
    assert value("closed_mcc", rows) == 0.0


def test_overall_counts_every_question_once():
    rows = [
        *closed(["yes", "no"], ["yes", "no"]),
        row("open_exact", 0.0, example="o"),
        row("open_f1", 1.0, example="o"),
    ]
    assert value("overall_accuracy", rows) == pytest.approx(2 / 3)


def test_finding_metrics_are_ratios_of_sums():
    rows = [
        row("report_findings", 1.0, present_hits="1", present_claimed="1", present_reference="1", unsupported="0"),
        row("report_findings", 0.5, present_hits="1", present_claimed="3", present_reference="1", unsupported="2"),
        row("report_findings", None, present_hits="0", present_claimed="0", present_reference="0", unsupported="0"),
    ]
    assert value("finding_precision_present", rows) == 0.5
    assert value("finding_recall_present", rows) == 1.0
    assert value("finding_f1_present", rows) == pytest.approx(2 * 0.5 / 1.5)
    assert value("unsupported_claim_rate", rows) == 0.5


def test_not_judged_is_left_out_not_zero():
    rows = [row("open_f1", 1.0, example="a"), row("open_f1", None, example="b")]
    assert value("open_f1", rows) == 1.0


def test_an_unknown_row_metric_is_a_mean_and_a_carrier_is_not():
    found = [metric.name for metric in metrics_of([row("judge_helpfulness", 0.3), row("report_findings", 0.2)])]
    assert "judge_helpfulness" in found
    assert "report_findings" not in found
    assert "closed_accuracy" not in found


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=4, max_size=40))
def test_calibration_against_independent_computations(items):
    rows = [
        row("choice_accuracy", float(right), example=str(i), confidence=repr(c)) for i, (right, c) in enumerate(items)
    ]
    right, confidence = np.array([r for r, _ in items], float), np.array([c for _, c in items])
    edges = np.clip((confidence * 10).astype(int), 0, 9)
    gaps = [abs(confidence[edges == b].mean() - right[edges == b].mean()) * (edges == b).mean() for b in set(edges)]
    assert value("ece", rows) == pytest.approx(sum(gaps))
    if 0 < right.sum() < len(right):
        assert value("auroc", rows) == pytest.approx(oracle.roc_auc_score(right, confidence))
    else:
        assert np.isnan(value("auroc", rows))
    if len(set(confidence)) == len(confidence):
        order = np.argsort(-confidence)
        risks = np.cumsum(1 - right[order]) / np.arange(1, len(right) + 1)
        assert value("aurc", rows) == pytest.approx(risks.mean())


def test_risk_coverage_ends_at_the_error_rate():
    from medpref.evaluation.calibration import risk_coverage

    rows = [
        row("choice_accuracy", v, example=str(i), confidence=str(c))
        for i, (v, c) in enumerate([(1.0, 0.9), (0.0, 0.6)])
    ]
    assert risk_coverage(rows) == [(0.5, 0.0), (1.0, 0.5)]
