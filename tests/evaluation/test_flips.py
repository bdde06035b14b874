import pytest
from scipy import stats

from medpref.evaluation.flips import flips, mcnemar
from medpref.schema import VerdictRow


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
