"""Differences over seeds: by hand, against scipy and the paired bootstrap, and by properties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medpref.bench.effect import Held, difference, level
from medpref.errors import ArtifactError
from medpref.evaluation.interval import paired_difference, ratio

UNIT = (0.0, 1.0)


def held(values: Sequence[float], *, prefix: str = "p", each: int = 1) -> Held:
    """``each`` questions a patient."""
    items = tuple((f"{prefix}{index // each}-q{index % each}", "m") for index in range(len(values)))
    table = np.array([(value, 1.0) for value in values])
    return Held(items, tuple(f"{prefix}{index // each}" for index in range(len(values))), table)


def test_means_and_deviation_by_hand() -> None:
    found = level({0: held([1, 1, 0, 0]), 1: held([1, 1, 1, 0])}, ratio, bounds=UNIT, name="m")
    assert found is not None
    assert found.value == pytest.approx((0.5 + 0.75) / 2)
    assert found.deviation == pytest.approx(np.sqrt(2 * 0.125**2))
    assert (found.seeds, found.items, found.clusters) == (2, 8, 4)
    assert found.by_seed == {0: 0.5, 1: 0.75}
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_one_seed_is_the_paired_bootstrap_over_patients() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(60), rng.random(60) - 0.15
    found = difference({7: held(a, each=2)}, {7: held(b, each=2)}, ratio, name="m")
    features = (np.column_stack([one, np.ones(60)]) for one in (a, b))
    patients = [f"p{index // 2}" for index in range(60)]
    other = paired_difference(*features, patients, rng=np.random.default_rng(1))
    assert found is not None
    assert other is not None
    assert found.deviation is None
    assert found.value == pytest.approx(other.difference)
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.02)
    assert found.p == pytest.approx(other.p, abs=0.03)


def test_seeds_with_patients_of_their_own_are_replicates() -> None:
    """Student's t over the seeds' differences, as scipy computes it."""
    rng = np.random.default_rng(3)
    shifts = [0.30, 0.42, 0.25, 0.38, 0.33]
    a = {seed: held(rng.normal(0, 0.001, 200) + shift, prefix=f"s{seed}p") for seed, shift in enumerate(shifts)}
    b = {seed: held(np.zeros(200), prefix=f"s{seed}p") for seed in a}
    found = difference(a, b, ratio, name="m")
    means = [one.features[:, 0].mean() for one in a.values()]
    test = stats.ttest_1samp(means, 0.0)
    low, high = test.confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-3)
    assert found.p == pytest.approx(max(test.pvalue, 1 / 4001), rel=0.05)
    assert found.clusters == 1000


def test_crossed_seeds_count_training_noise_that_patients_alone_hide() -> None:
    rng = np.random.default_rng(4)
    a = {seed: held(rng.normal(shift, 0.05, 100)) for seed, shift in enumerate([0.9, -0.7, 0.5, -0.3, 0.2])}
    b = {seed: held(np.zeros(100)) for seed in a}
    over = difference(a, b, ratio, name="m")
    alone = difference({0: a[0]}, {0: b[0]}, ratio, name="m")
    assert over is not None
    assert alone is not None
    assert over.low < 0 < over.high, "seeds disagree in sign"
    assert over.p > 0.05
    assert alone.low > 0, "one of its seeds alone looks certain"
    assert over.clusters == 100


def test_p_is_below_five_percent_only_where_the_interval_excludes_zero() -> None:
    rng = np.random.default_rng(5)
    for shift in np.linspace(-0.4, 0.4, 17):
        a = {seed: held(rng.normal(shift, 0.5, 30)) for seed in range(3)}
        b = {seed: held(rng.normal(0, 0.5, 30)) for seed in range(3)}
        found = difference(a, b, ratio, name="m")
        assert found is not None
        if found.p < 0.05:
            assert not found.low <= 0 <= found.high


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6))
def test_swapping_sides_mirrors_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = {one: held(rng.integers(0, 2, 24), each=2) for one in (0, 1)}
    b = {one: held(rng.integers(0, 2, 24), each=2) for one in (0, 1)}
    one, two = difference(a, b, ratio, name="m"), difference(b, a, ratio, name="m")
    assert one is not None
    assert two is not None
    assert one.value == pytest.approx(-two.value)
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low))
    assert one.p == pytest.approx(two.p)


def test_a_model_against_itself_is_exactly_zero() -> None:
    a = {seed: held([1, 0, 1, 1, 0, 0, 1]) for seed in range(3)}
    found = difference(a, a, ratio, name="m")
    assert found is not None
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_only_shared_seeds_and_questions_are_compared() -> None:
    a = {0: held([1, 1, 1, 0]), 1: held([1, 1])}
    b = {0: held([0, 0, 1]), 2: held([0, 0])}
    found = difference(a, b, ratio, name="m")
    assert found is not None
    assert (found.seeds, found.items) == (1, 3)
    assert found.value == pytest.approx(2 / 3)


def test_nothing_to_compare_is_none_and_unequal_features_are_an_error() -> None:
    assert difference({0: held([1, 0])}, {1: held([1, 0])}, ratio, name="m") is None
    assert level({}, ratio, bounds=UNIT, name="m") is None
    wide = Held(held([1, 0]).items, ("p0", "p1"), np.ones((2, 3)))
    with pytest.raises(ArtifactError, match="2 and 3 features"):
        difference({0: held([1, 0])}, {0: wide}, ratio, name="m")


def test_p_is_never_below_what_exchanging_the_models_within_patients_gives() -> None:
    """Five patients, always one right and the other wrong: no width, and two of 2^5 swaps are as extreme."""
    a, b = {seed: held([1] * 5) for seed in (0, 1)}, {seed: held([0] * 5) for seed in (0, 1)}
    found = difference(a, b, ratio, name="m")
    assert found is not None
    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert found.p == pytest.approx(2 / 2**5)
