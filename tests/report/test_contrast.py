"""A tie is a tie: by hand for each case, and by symmetry."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.report.contrast import contrasts, headlines, outcome
from medpref.report.values import Comparison, Run
from medpref.report.words import metric_words

OPPOSITE = {"better": "worse", "worse": "better", "higher": "lower", "lower": "higher"}


def _held(metric: str, low: float, high: float, p_holm: float | None = 0.001) -> Comparison:
    return Comparison(
        a="a", b="b", metric=metric, difference=(low + high) / 2, low=low, high=high, p=0.001, p_holm=p_holm
    )


@pytest.mark.parametrize(
    ("metric", "low", "high", "p_holm", "expected"),
    [
        ("overall_accuracy", 0.01, 0.1, 0.001, "better"),
        ("overall_accuracy", -0.1, -0.01, 0.001, "worse"),
        ("overall_accuracy", -0.01, 0.1, 0.001, "tied"),
        ("overall_accuracy", 0.0, 0.1, 0.001, "tied"),
        ("overall_accuracy", 0.01, 0.1, 0.05, "tied"),
        ("overall_accuracy", 0.01, 0.1, None, "better"),
        ("unsupported_claim_rate", 0.01, 0.1, 0.001, "worse"),
        ("unsupported_claim_rate", -0.1, -0.01, 0.001, "better"),
        ("closed_yes_rate", 0.01, 0.1, 0.001, "higher"),
    ],
)
def test_outcome(metric: str, low: float, high: float, p_holm: float | None, expected: str) -> None:
    assert outcome(_held(metric, low, high, p_holm), metric_words(metric)) == expected


def test_what_was_not_judged_is_no_tie() -> None:
    held = Comparison(a="a", b="b", metric="overall_accuracy")
    assert outcome(held, metric_words("overall_accuracy")) == "not judged"


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(["overall_accuracy", "unsupported_claim_rate", "closed_yes_rate"]),
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_exchanging_the_models_exchanges_the_outcome(metric: str, middle: float, half: float, p: float) -> None:
    words = metric_words(metric)
    there = outcome(_held(metric, middle - half, middle + half, p), words)
    back = outcome(_held(metric, -middle - half, -middle + half, p), words)
    assert back == OPPOSITE.get(there, there)


def test_contrasts_against_a_control_come_first_in_the_order_of_the_run(run: Run) -> None:
    titles = [held.title for held in contrasts(run)]
    assert titles[:2] == ["mmedpo minus Control (mmedpo)", "fire_mpo minus Control (mmedpo)"]
    assert titles[-1] == "SFT minus Base"
    assert len(titles) == 6


def test_every_headline_comparison_is_shown_once(run: Run) -> None:
    for held in contrasts(run):
        shown = [row.held.metric for part in (held.overall, held.shortcut, held.further, held.slices) for row in part]
        assert len(set(shown)) == len(shown)
        known = {row.metric for row in run.comparisons if (row.a, row.b) == (held.a, held.b)}
        assert {metric for metric in known if "@" not in metric} <= set(shown)
        assert headlines(held)[0].held.metric == "overall_accuracy"


def test_a_difference_that_holm_takes_back_says_so() -> None:
    run = Run(root=".", comparisons=(_held("overall_accuracy", 0.01, 0.1, 0.2),))
    (row,) = contrasts(run)[0].overall
    assert row.outcome == "tied"
    assert "not after Holm" in row.note
    assert (row.shown, row.interval, row.p_holm) == ("+5.5", "+1.0 to +10.0", "0.200")
