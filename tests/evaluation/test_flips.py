import numpy as np
import pytest
from scipy import stats

from medpref.evaluation.flips import flips, mcnemar
from medpref.evaluation.hierarchy import over_seeds
from medpref.schema import VerdictRow
from medpref.seeds import generator


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 5), (10, 3), (7, 7), (40, 61), (0, 9)])
def test_mcnemar_is_scipys_binomial_test(lost, won):
    expected = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(expected)


def rows(values):
    return [VerdictRow(example=str(i), patient="p", metric="closed_accuracy", value=v) for i, v in enumerate(values)]


def test_flip_matrix_by_hand():
    found = flips(rows([1.0, 1.0, 0.0, 0.0, None, 0.0]), rows([1.0, 0.0, 1.0, 1.0, 1.0]))
    assert found[:4] == (1, 1, 2, 0)
    assert found.p == mcnemar(1, 2)


def seeds_of(rng, count, patients, spread):
    base = rng.normal(0, 1, patients)
    return {
        s: np.column_stack([base + rng.normal(0, spread) + rng.normal(0, 0.5, patients), np.ones(patients)])
        for s in range(count)
    }


@pytest.mark.parametrize("count", [3, 5])
def test_hierarchical_interval_covers_the_true_mean(count):
    hits = patients_only = 0
    for trial in range(300):
        rng = np.random.default_rng(trial)
        features = seeds_of(rng, count, 60, 0.4)
        clusters = {s: list(range(60)) for s in features}
        found = over_seeds(features, clusters, rng=rng)
        hits += found.low <= 0 <= found.high
        one = over_seeds({0: features[0]}, {0: clusters[0]}, rng=rng)
        patients_only += one.low <= 0 <= one.high
    assert 0.92 <= hits / 300 <= 0.99
    assert patients_only / 300 < 0.75


def test_seeds_that_agree_leave_the_patients_interval():
    table = np.column_stack([np.arange(20.0), np.ones(20)])
    same = over_seeds({1: table, 2: table}, {1: range(20), 2: range(20)}, rng=generator(0, "t"))
    alone = over_seeds({1: table}, {1: range(20)}, rng=generator(0, "t"))
    assert same.deviation == 0.0
    assert (same.value, same.low, same.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert (same.seeds, alone.seeds, same.clusters) == (2, 1, 20)


def test_deviation_is_between_seeds():
    tables = {s: np.array([[value, 1.0]] * 4) for s, value in enumerate([0.2, 0.4, 0.9])}
    found = over_seeds(tables, {s: list("abcd") for s in tables}, rng=generator(0, "t"))
    assert found.value == pytest.approx(0.5)
    assert found.deviation == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
