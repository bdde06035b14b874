import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medpref.evaluation.interval import (
    cluster_sums,
    holm,
    interval,
    paired_difference,
    percentiles,
    ratio,
    resample,
    swap_p,
)
from medpref.seeds import generator


def means(values):
    return np.column_stack([values, np.ones(len(values))])


def clustered(rng, patients, *, between=1.0, within=1.0):
    """Values whose true mean is 0, with 1 to 6 questions a patient that resemble each other."""
    sizes = rng.integers(1, 7, size=patients)
    who = np.repeat(np.arange(patients), sizes)
    values = rng.normal(0, between, patients)[who] + rng.normal(0, within, len(who))
    return values, who.tolist()


def test_cluster_sums_by_hand():
    sums = cluster_sums([[1, 1], [2, 1], [4, 1]], ["b", "a", "b"])
    assert sums.tolist() == [[5, 2], [2, 1]]


def test_resample_draws_as_many_clusters_as_there_are():
    weights = resample(7, generator(0, "t"), draws=500)
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)


def test_interval_equals_a_naive_cluster_bootstrap():
    values, who = clustered(np.random.default_rng(3), 40)
    found = interval(means(values), who, rng=generator(0, "t"))
    groups = [values[np.array(who) == patient] for patient in range(40)]
    rng, draws = np.random.default_rng(9), []
    for _ in range(4000):
        draws.append(np.concatenate([groups[pick] for pick in rng.integers(40, size=40)]).mean())
    tail = 100 * stats.norm.cdf(-np.sqrt(40 / 39) * stats.t.ppf(0.975, 39))
    low, high = np.percentile(draws, [tail, 100 - tail])
    assert found.value == pytest.approx(values.mean())
    assert (found.items, found.clusters) == (len(values), 40)
    width = high - low
    assert found.low == pytest.approx(low, abs=0.06 * width)
    assert found.high == pytest.approx(high, abs=0.06 * width)


def test_interval_agrees_with_the_cluster_robust_standard_error():
    values, who = clustered(np.random.default_rng(5), 150)
    found = interval(means(values), who, rng=generator(1, "t"))
    residual = cluster_sums(means(values - values.mean()), who)[:, 0]
    error = np.sqrt((residual**2).sum()) / len(values)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.06)


@pytest.mark.parametrize("patients", [15, 80])
def test_coverage_is_what_it_says_and_ignoring_patients_is_not(patients):
    hits = naive_hits = 0
    for trial in range(1000):
        rng = np.random.default_rng(trial)
        values, who = clustered(rng, patients)
        sums = cluster_sums(means(values), who)
        low, high = percentiles(ratio(resample(len(sums), rng, draws=800) @ sums), len(sums))
        hits += low <= 0 <= high
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
        naive_hits += abs(values.mean()) <= half
    assert 930 <= hits <= 970
    assert naive_hits < 880


def test_coverage_of_paired_differences():
    big, hits = np.random.default_rng(0).normal(0, 1, 1_000_000), 0
    true = np.mean(1 / (1 + np.exp(-big - 0.6))) - np.mean(1 / (1 + np.exp(-big)))
    for trial in range(600):
        rng = np.random.default_rng(50_000 + trial)
        who = np.repeat(np.arange(30), rng.integers(1, 6, size=30))
        shared = rng.normal(0, 1, 30)[who]
        first, second = (rng.random(len(who)) < 1 / (1 + np.exp(-shared - bias)) for bias in (0.6, 0.0))
        found = paired_difference(means(first), means(second), who.tolist(), rng=rng)
        hits += found.low <= true <= found.high
    assert 0.93 <= hits / 600 <= 0.97


def test_all_right_is_not_certain():
    found = interval(means(np.ones(30)), [f"p{i // 3}" for i in range(30)], rng=generator(0, "t"), bounds=(0.0, 1.0))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(stats.beta.ppf(0.025, 10, 1))
    wrong = interval(means(np.zeros(10)), range(10), rng=generator(0, "t"), bounds=(0.0, 1.0))
    assert (wrong.low, wrong.high) == (0.0, pytest.approx(stats.beta.ppf(0.975, 1, 10)))


def test_one_patient_says_nothing_about_others():
    assert interval(means([0.0, 1.0]), ["a", "a"], rng=generator(0, "t"), bounds=(0.0, 1.0))[:3] == (0.5, 0.0, 1.0)
    assert interval(means([0.3, 1.0]), ["a", "a"], rng=generator(0, "t")) is None
    assert interval(np.empty((0, 2)), [], rng=generator(0, "t")) is None
    assert paired_difference(means([1.0, 0.0]), means([0.0, 0.0]), ["a", "a"], rng=generator(0, "t")) is None


def test_undefined_is_none():
    assert interval([[0.0, 0.0], [0.0, 0.0]], ["a", "b"], rng=generator(0, "t"), bounds=(0.0, 1.0)) is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=2, max_size=25), st.integers(0, 99))
def test_interval_holds_its_value_and_stays_in_bounds(items, seed):
    values, who = [value for value, _ in items], [cluster for _, cluster in items]
    found = interval(means(values), who, rng=generator(seed, "t"), bounds=(0.0, 1.0))
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    again = interval(means(values), who, rng=generator(seed, "t"), bounds=(0.0, 1.0))
    assert found == again


def test_paired_p_equals_scipys_exact_permutation_test():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.4, 1, 10), rng.normal(0, 1, 10)
    found = paired_difference(means(first), means(second), range(10), rng=generator(0, "t"))
    oracle = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples", n_resamples=np.inf
    )
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert found.p == pytest.approx(oracle.pvalue)


@pytest.mark.parametrize(("lost", "won", "same"), [(1, 7, 4), (3, 3, 2), (0, 6, 6), (5, 2, 5)])
def test_paired_p_of_single_answers_is_mcnemars(lost, won, same):
    first = np.array([1.0] * lost + [0.0] * won + [1.0] * same)
    second = np.array([0.0] * lost + [1.0] * won + [1.0] * same)
    found = paired_difference(means(first), means(second), range(len(first)), rng=generator(0, "t"))
    assert found.p == pytest.approx(stats.binomtest(lost, lost + won).pvalue)


def test_many_clusters_agree_with_mcnemar_within_sampling():
    first = np.array([1.0] * 30 + [0.0] * 14 + [1.0] * 100)
    second = np.array([0.0] * 30 + [1.0] * 14 + [1.0] * 100)
    found = paired_difference(means(first), means(second), range(len(first)), rng=generator(0, "t"))
    assert found.p == pytest.approx(stats.binomtest(30, 44).pvalue, abs=0.008)


def test_p_is_uniform_under_the_null():
    p_values = []
    for trial in range(600):
        rng = np.random.default_rng(10_000 + trial)
        patients = 25
        who = np.repeat(np.arange(patients), rng.integers(1, 5, size=patients))
        shared = rng.normal(0, 1, patients)[who]
        first, second = (shared + rng.normal(0, 1, len(who)) for _ in range(2))
        sums = [cluster_sums(means(values), who.tolist()) for values in (first, second)]
        p_values.append(swap_p(*sums, rng=rng))
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert 0.03 <= np.mean(np.array(p_values) <= 0.05) <= 0.075


def test_p_keeps_a_patients_answers_together():
    """Ten copies of each answer are no more evidence than one."""
    first, second = np.array([1.0, 1, 0, 1, 1, 1]), np.array([0.0, 0, 0, 0, 0, 0])
    once = paired_difference(means(first), means(second), range(6), rng=generator(0, "t"))
    many = paired_difference(
        means(np.repeat(first, 10)),
        means(np.repeat(second, 10)),
        np.repeat(range(6), 10).tolist(),
        rng=generator(0, "t"),
    )
    assert many.p == once.p == 2 / 32
    assert many.low == pytest.approx(once.low)


def test_a_model_against_itself():
    values, who = clustered(np.random.default_rng(1), 30)
    found = paired_difference(means(values), means(values), who, rng=generator(0, "t"))
    assert found[:4] == (0.0, 0.0, 0.0, 1.0)


def test_difference_turns_round():
    rng = np.random.default_rng(2)
    first, second = rng.normal(0.5, 1, 40), rng.normal(0, 1, 40)
    one = paired_difference(means(first), means(second), range(40), rng=generator(0, "t"))
    other = paired_difference(means(second), means(first), range(40), rng=generator(0, "t"))
    assert one.difference == pytest.approx(-other.difference)
    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))
    assert one.p == other.p


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_holm_is_between_p_and_bonferroni_whatever_the_order(p_values, random):
    adjusted = holm(p_values)
    for p, held in zip(p_values, adjusted, strict=True):
        assert p <= held <= min(1.0, len(p_values) * p) + 1e-12
    order = list(range(len(p_values)))
    random.shuffle(order)
    shuffled = holm([p_values[index] for index in order])
    assert shuffled == pytest.approx([adjusted[index] for index in order])
