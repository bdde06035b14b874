"""The chosen log-prob alarm: by hand, against scipy, and what it may not be fooled by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medpref.evaluation.drift import chosen_drift


def steps(chosen, rewards=None):
    rows = [{"step": n, "logps/chosen": value} for n, value in enumerate(chosen, 1)]
    if rewards is not None:
        rows = [{**row, "rewards/chosen": reward} for row, reward in zip(rows, rewards, strict=True)]
    return rows


def test_a_fall_by_hand():
    (alarm,) = chosen_drift(steps([-10, -11, -12, -13, -14, -15, -18, -19, -20, -21]))
    assert (alarm.name, alarm.level) == ("chosen_log_prob", "warn")
    assert alarm.value == pytest.approx(-20.5 + 10.5)
    assert (
        "-10.50 nats a reply in the first 2 logged steps, -20.50 in the last (-10.00, standard error 0.71)"
        in alarm.text
    )


def test_the_error_is_that_of_welchs_test():
    rng = np.random.default_rng(0)
    values = rng.normal(-12, 3, 50)
    (alarm,) = chosen_drift(steps(values))
    test = stats.ttest_ind(values[-10:], values[:10], equal_var=False)
    assert f"standard error {alarm.value / test.statistic:.2f})" in alarm.text


def test_a_rise_and_mere_noise_are_in_order():
    rng = np.random.default_rng(1)
    assert chosen_drift(steps(np.linspace(-20, -10, 30)))[0].level == "ok"
    noisy = [chosen_drift(steps(rng.normal(-40, 30, 60)))[0].level for _ in range(200)]
    assert noisy.count("warn") / 200 < 0.08


def test_the_reward_on_the_same_pairs_decides_where_batches_differ():
    """Batches of long and short replies hide a fall that the reward, which compares the same pairs, shows."""
    rng = np.random.default_rng(2)
    fall = np.linspace(0, -3, 60)
    noise = rng.normal(-40, 30, 60)
    assert chosen_drift(steps(noise + fall))[0].level == "ok"
    (alarm,) = chosen_drift(steps(noise + fall, 0.1 * fall))
    assert alarm.level == "warn"
    assert "reward against the start, on the same pairs: -0.27" in alarm.text
    assert chosen_drift(steps(np.linspace(-10, -20, 60), np.linspace(0, 0.3, 60)))[0].level == "ok"


def test_a_reward_without_a_reference_does_not_decide():
    """SimPO's reward is the mean log-probability itself: it does not start at 0."""
    assert chosen_drift(steps(np.linspace(-20, -10, 20), np.linspace(-4, -2, 20)))[0].level == "ok"
    assert chosen_drift(steps(np.linspace(-10, -20, 20), np.linspace(-2, -4, 20)))[0].level == "warn"


@pytest.mark.parametrize("rows", [[], [{"step": 1, "loss": 2.0}], steps([-1.0, -2.0, -3.0]), steps([float("nan")] * 9)])
def test_too_little_to_say(rows):
    assert chosen_drift(rows) == []


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-100, -1), min_size=4, max_size=40))
def test_played_backwards_the_drift_turns_and_never_both_warn(values):
    there, back = chosen_drift(steps(values))[0], chosen_drift(steps(values[::-1]))[0]
    assert there.value == pytest.approx(-back.value)
    assert {there.level, back.level} != {"warn"}
