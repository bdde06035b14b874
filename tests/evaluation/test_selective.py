"""Risk-coverage: by hand, against a sort, and by properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.evaluation.calibration import by_confidence, risk_at, risk_coverage
from medpref.evaluation.estimate import estimates
from medpref.evaluation.selective import COVERAGES, risk_curves
from medpref.schema import OwnReply, VerdictRow


def row(number, value, confidence, metric="choice_accuracy", patient=None):
    return VerdictRow(
        example=f"e{number}",
        patient=patient or f"p{number}",
        metric=metric,
        value=value,
        evidence={} if confidence is None else {"confidence": str(confidence)},
    )


def drawn(seed, count=60, levels=1000):
    rng = np.random.default_rng(seed)
    sure = np.round(rng.random(count) * levels) / levels
    right = (rng.random(count) < sure).astype(float)
    return [row(n, r, c, patient=f"p{n // 3}") for n, (r, c) in enumerate(zip(right, sure, strict=True))]


def test_four_answers_by_hand():
    rows = [row(0, 1.0, 0.9), row(1, 0.0, 0.8), row(2, 1.0, 0.8), row(3, 0.0, 0.1)]
    (curve,) = risk_curves(rows, [], seed=0)
    risk = {point["coverage"]: point["value"] for point in curve["points"]}
    assert (risk[0.05], risk[0.25]) == (0.0, 0.0)
    assert risk[0.3] == risk[0.75] == pytest.approx(1 / 3), "equally confident answers are taken up together"
    assert (risk[0.8], risk[1.0]) == (0.5, 0.5)
    assert curve["area"]["value"] == pytest.approx((0 + 2 * (1 / 3) + 0.5) / 4)
    assert (curve["confidence"], curve["items"], curve["clusters"]) == ("choice", 4, 4)


def test_points_are_the_sorted_error_and_the_area_is_the_metric():
    rows = drawn(1)
    (curve,) = risk_curves(rows, [], seed=0)
    sure = np.array([float(one.evidence["confidence"]) for one in rows])
    wrong = 1 - np.array([one.value for one in rows])
    for point in curve["points"]:
        level = np.sort(sure)[::-1][math.ceil(point["coverage"] * len(rows) - 1e-9) - 1]
        assert point["value"] == pytest.approx(wrong[sure >= level].mean())
        assert point["low"] <= point["value"] <= point["high"]
    held = {one["metric"]: one for one in estimates(rows, seed=0) if (one["kind"], one["slice"]) == ("all", "all")}
    assert curve["area"]["value"] == pytest.approx(held["aurc"]["value"])
    assert (curve["area"]["low"], curve["area"]["high"]) == pytest.approx(
        (held["aurc"]["low"], held["aurc"]["high"]), abs=0.02
    )


def test_a_reply_is_as_sure_as_its_tokens_are_on_the_mean():
    replies = [
        OwnReply(example=f"e{n}", text="x", log_probs=(math.log(p),) * (n + 1)) for n, p in enumerate((0.9, 0.4))
    ]
    replies += [OwnReply(example="e2", text="x"), OwnReply(example="e0", text="x", log_probs=(-9.0,), view="blind")]
    rows = [row(0, 1.0, None, "closed_accuracy"), row(1, 0.0, None, "open_exact"), row(2, 1.0, None, "open_exact")]
    rows += [row(0, 0.0, None, "open_f1"), row(1, None, None, "closed_accuracy")]
    (curve,) = risk_curves(rows, replies, seed=0)
    assert (curve["confidence"], curve["items"]) == ("reply", 2)
    assert [curve["points"][9]["value"], curve["points"][-1]["value"]] == [0.0, 0.5]


def test_nothing_to_say_and_one_patient():
    assert risk_curves([row(0, 1.0, None)], [], seed=0) == []
    (curve,) = risk_curves([row(0, 1.0, 0.5, patient="p"), row(1, 0.0, 0.4, patient="p")], [], seed=0)
    assert curve["area"]["low"] is None
    assert curve["points"][-1] == {"coverage": 1.0, "value": 0.5, "low": None, "high": None}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([2, 10, 1000]))
def test_full_coverage_is_the_error_rate_and_points_lie_on_the_curve(seed, levels):
    rows = drawn(seed, levels=levels)
    sums = by_confidence(rows).sum(axis=0)
    steps = {round(share, 9): risk for share, risk in risk_coverage(rows)}
    for coverage in COVERAGES:
        share = min(share for share in steps if share >= coverage - 1e-9)
        assert risk_at(sums, [coverage])[0] == pytest.approx(steps[share])
    assert risk_at(sums, [1.0])[0] == pytest.approx(1 - np.mean([one.value for one in rows]))


def test_fewer_answers_make_a_wider_interval_and_a_run_repeats():
    rows = drawn(3, count=300)
    (curve,) = risk_curves(rows, [], seed=0)
    wide = {point["coverage"]: point["high"] - point["low"] for point in curve["points"]}
    assert wide[0.1] > wide[1.0]
    assert risk_curves(rows, [], seed=0) == [curve]
