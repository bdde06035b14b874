"""Several seeds: by hand (two-way analysis of variance), against scipy, and coverage in a simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medpref.errors import DataError
from medpref.evaluation.hierarchy import over_seeds
from medpref.evaluation.interval import Array, interval, ratio
from medpref.seeds import generator


def table(values):
    return np.column_stack([values, np.ones(len(values))])


def crossed(values):
    """``values`` [seed, patient] as the arguments of over_seeds."""
    return {s: table(row) for s, row in enumerate(values)}, {s: range(len(row)) for s, row in enumerate(values)}


@pytest.mark.parametrize(("patient", "training"), [(1.0, 0.4), (0.0, 0.0), (3.0, 0.1)])
def test_error_is_that_of_the_two_way_analysis_of_variance(patient, training):
    """error^2 = (MS_seed + max(0, MS_patient - MS_rest)) / (k n), with MS_rest the seeds-by-patients mean square."""
    rng = np.random.default_rng(5)
    k, n = 5, 80
    y = rng.normal(0, patient, n) + rng.normal(0, training, (k, 1)) + rng.normal(0, 1, (k, n))
    ms_seed = n * y.mean(axis=1).var(ddof=1)
    ms_patient = k * y.mean(axis=0).var(ddof=1)
    rest = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    ms_rest = (rest**2).sum() / ((k - 1) * (n - 1))
    found = over_seeds(*crossed(y), rng=generator(0, "t"))
    expected = np.sqrt((ms_seed + max(0.0, ms_patient - ms_rest)) / (k * n))
    assert found.error == pytest.approx(expected, rel=0.04), "up to the noise of 2000 draws"
    assert found.value == pytest.approx(y.mean())
    assert found.high - found.value == pytest.approx(found.error * stats.t.ppf(0.975, found.freedom))
    assert k - 1 <= found.freedom + 1e-9 <= n - 1 + k


def test_patients_of_each_seed_s_own_are_scipys_t_test():
    rng = np.random.default_rng(6)
    features = {s: table(rng.normal(0.2, 1, 40)) for s in range(4)}
    found = over_seeds(features, {s: [f"{s}-{i}" for i in range(40)] for s in features}, rng=rng)
    test = stats.ttest_1samp([held[:, 0].mean() for held in features.values()], 0.0)
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.freedom, found.clusters) == (3, 160)
    assert 2 * stats.t.sf(found.value / found.error, found.freedom) == pytest.approx(test.pvalue)


def test_seeds_that_agree_leave_the_standard_error_over_patients():
    values = np.arange(20.0)
    same = over_seeds({1: table(values), 2: table(values)}, {1: range(20), 2: range(20)}, rng=generator(0, "t"))
    alone = over_seeds({1: table(values)}, {1: range(20)}, rng=generator(0, "t"))
    assert same.deviation == 0.0
    assert (same.error, same.freedom) == pytest.approx((alone.error, 19))
    assert same.error == pytest.approx(stats.sem(values), rel=0.04)
    assert (same.seeds, alone.seeds, same.clusters) == (2, 1, 20)


def test_deviation_is_between_seeds():
    tables = {s: np.array([[value, 1.0]] * 4) for s, value in enumerate([0.2, 0.4, 0.9])}
    found = over_seeds(tables, {s: list("abcd") for s in tables}, rng=generator(0, "t"))
    assert found.value == pytest.approx(0.5)
    assert found.deviation == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    assert found.error == pytest.approx(found.deviation / np.sqrt(3)), "patients that agree add nothing"


def test_one_patient_says_nothing():
    with pytest.raises(DataError, match="one patient"):
        over_seeds({0: table([1.0]), 1: table([0.0])}, {0: ["a"], 1: ["a"]}, rng=generator(0, "t"))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 12))
def test_scale_and_sign_carry_over_and_the_value_lies_inside(seed, k, n):
    y = np.random.default_rng(seed).normal(0, 1, (k, n))
    one, other = (over_seeds(*crossed(values), rng=generator(0, "t")) for values in (y, -3 * y))
    assert one.low <= one.value <= one.high
    assert (other.value, other.low, other.high) == pytest.approx((-3 * one.value, -3 * one.high, -3 * one.low))
    assert other.freedom == pytest.approx(one.freedom)


def answers(rng, *, training, taste, own, seeds=5, patients=30, each=8):
    """[first, 1, second, 1] of two equally good models' 0/1 answers at each seed, by logits.

    Patients and questions are as hard for both models and for every seed (drawn anew for each seed where ``own``);
    ``training`` is the noise of a model's seed, ``taste`` how much patients differ in which model suits them.
    """
    held, found, names = None, {}, {}
    for s in range(seeds):
        if own or held is None:
            hard = rng.normal(0, 1, (patients, 1)) + rng.normal(0, 1, (patients, each)) + 0.5
            held = hard, rng.normal(0, taste, (patients, 1))
        hard, suits = held
        logits = (hard + suits / 2 + rng.normal(0, training), hard - suits / 2 + rng.normal(0, training))
        said = [rng.random(hard.shape) < 1 / (1 + np.exp(-one)) for one in logits]
        found[s] = np.hstack([table(one.ravel()) for one in said])
        names[s] = [f"{s if own else ''}-{i // each}" for i in range(hard.size)]
    return found, names


def minus(sums: Array) -> Array:
    return ratio(sums[..., :2]) - ratio(sums[..., 2:])


def coverage(trials, **settings):
    """How often 0, the truth, lies in the interval over all seeds, and in that of one seed over patients alone."""
    rng = np.random.default_rng(11)
    hits = alone = 0
    for _ in range(trials):
        features, patients = answers(rng, **settings)
        found = over_seeds(features, patients, rng=rng, combine=minus)
        hits += found.low <= 0 <= found.high
        one = interval(features[0], patients[0], rng=rng, combine=minus)
        alone += one.low <= 0 <= one.high
    return hits / trials, alone / trials


@pytest.mark.parametrize("own", [False, True], ids=["the same patients", "patients of their own"])
@pytest.mark.parametrize("training", [0.0, 0.3])
def test_the_interval_of_a_paired_difference_covers_the_truth_as_often_as_it_says(training, own):
    """No difference is the truth, with and without noise of training; 800 trials have a standard error of 0.8 %."""
    covered, by_one_seed = coverage(800, training=training, taste=0.5, own=own, patients=20)
    assert 0.93 <= covered <= 0.97
    if training:
        assert by_one_seed < 0.80, "one seed's interval over patients does not know what training adds"
