import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.curation.features import bags, features, thumbnail, unit
from medpref.curation.nearest import _proposed, chosen, distances, random_distances, search, space, stacked
from medpref.errors import RecipeError

from .studies import train_split

WEIGHTS = {"image": 1.0, "question": 0.5, "findings": 2.0}


def made(seed: int, count: int = 30):
    rng = np.random.default_rng(seed)
    rows = {
        "image": unit(rng.standard_normal((count, 8)).astype(np.float32)),
        "question": unit(rng.random((count, 5)).astype(np.float32)),
        "findings": (rng.random((count, 6)) < 0.4).astype(np.float32),
    }
    return space(rows, WEIGHTS, np.random.default_rng(0))


def by_hand(where, q: int, g: int) -> float:
    total = 0.0
    for name, rows in where.rows.items():
        if name == "findings":
            raw = float(np.mean(rows[q] != rows[g]))
        else:
            raw = 1 - float(np.dot(rows[q].astype(float), rows[g].astype(float)))
        total += where.weights[name] * (raw - where.scales[name].mean) / where.scales[name].std
    return total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8))
def test_search_is_exact(seed: int, k: int) -> None:
    where = made(seed)
    rows = range(30)
    barred = {row: frozenset({row, (row + 1) % 30}) for row in rows}
    found = search(where, rows, rows, k=k, barred=barred)
    for q in (0, 7, 29):
        everything = sorted((by_hand(where, q, g), g) for g in rows if g not in barred[q])
        assert [g for g, _ in found[q]] == [g for _, g in everything[:k]]
        assert [d for _, d in found[q]] == pytest.approx([d for d, _ in everything[:k]])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.sampled_from([1.0, -0.7]), st.sampled_from([2, 5, 128]))
def test_search_is_exact_among_equal_rows_and_with_any_weight(seed: int, k: int, weight: float, block: int) -> None:
    """Rows drawn with repetition are tied to the last bit; blocks as small as two decide who is proposed."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 12, 60)
    rows = {
        "image": unit(rng.standard_normal((12, 8)).astype(np.float32))[drawn],
        "findings": (rng.random((12, 6)) < 0.4).astype(np.float32)[drawn],
    }
    where = space(rows, {"image": weight, "findings": 2.0}, np.random.default_rng(0))
    barred = {row: frozenset({row, (row + 7) % 60}) for row in range(60)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medpref.curation.nearest.BLOCK", block)
        found = search(where, range(60), range(60), k=k, barred=barred)
    one, other = np.divmod(np.arange(60 * 60), 60)
    whole = distances(where, one, other).reshape(60, 60)
    for q in range(60):
        everything = sorted((whole[q, g], g) for g in range(60) if g not in barred[q])
        assert found[q] == [(g, d) for d, g in everything[:k]]


def test_few_rows_are_measured_of_many() -> None:
    rng = np.random.default_rng(0)
    rough = rng.standard_normal((20, 5000)).astype(np.float32)
    near = _proposed(rough, 7, 1e-4)
    assert all(set(np.argsort(line)[:7]) <= set(kept.tolist()) for line, kept in zip(rough, near, strict=True))
    assert max(map(len, near)) < 40


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    where = made(3)
    barred = {row: frozenset({row}) for row in range(30)}
    whole = search(where, range(30), range(30), k=4, barred=barred)
    monkeypatch.setattr("medpref.curation.nearest.CHUNK", 7)
    assert search(where, range(30), range(30), k=4, barred=barred) == whole


def test_stacked_rows_have_the_same_distances_up_to_a_constant() -> None:
    where = made(5)
    exact = np.array([[by_hand(where, q, g) for g in range(30)] for q in range(30)])
    rows = stacked(where).astype(np.float64)
    squared = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    offset = exact - squared
    assert offset == pytest.approx(np.full_like(offset, offset[0, 1]), abs=1e-4)


def test_each_distance_is_standardised_over_random_pairs() -> None:
    where = made(1, 400)
    values = random_distances(where, np.random.default_rng(1))
    assert values.mean() == pytest.approx(0, abs=0.15)
    # independent features: variance is the sum of squared weights
    assert values.std() == pytest.approx(np.sqrt(1 + 0.25 + 4), rel=0.1)


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="FAISS is not installed")
def test_faiss_finds_what_exact_search_finds() -> None:
    where = made(9)
    barred = {row: frozenset({row}) for row in range(30)}
    exact = search(where, range(30), range(30), k=5, barred=barred, index="exact")
    fast = search(where, range(30), range(30), k=5, barred=barred, index="faiss")
    assert fast == exact  # to the last bit of D


@pytest.mark.parametrize("index", ["auto", "exact"])
def test_an_empty_gallery_has_no_neighbours(index) -> None:
    assert search(made(3), [0, 1], [], k=5, barred={0: frozenset({0}), 1: frozenset({1})}, index=index) == [[], []]


def test_faiss_is_refused_where_it_cannot_serve() -> None:
    where = made(2)
    negative = where._replace(weights={**where.weights, "image": -1.0})
    assert chosen("auto", negative) == "exact"
    with pytest.raises(RecipeError, match="a negative weight"):
        chosen("faiss", negative)


def test_features_of_examples(tmp_path: Path) -> None:
    examples = train_split(tmp_path, patients=2)
    rows = features(examples, tmp_path, ("image", "question", "rationale", "findings"))
    assert {name: len(values) for name, values in rows.items()} == dict.fromkeys(rows, 18)
    assert np.linalg.norm(rows["image"], axis=1) == pytest.approx(np.ones(18), abs=1e-5)
    assert np.array_equal(rows["image"][0], rows["image"][1])
    assert not np.array_equal(rows["image"][0], rows["image"][9])
    assert np.array_equal(rows["question"][0], rows["question"][9])
    assert rows["findings"].sum() == 18


def test_yes_and_no_are_compared_by_what_they_say_is_there(tmp_path: Path) -> None:
    first = train_split(tmp_path, patients=1)[0].model_copy(update={"facts": ()})
    said = [
        ("Is this film normal?", "No"),
        ("Is there an abnormality?", "Yes"),
        ("Is there an abnormality?", "No"),
        ("Is this film normal?", "Yes"),
        ("Is it clear?", "No"),
    ]
    asked = [first.model_copy(update={"question": question, "answer": answer}) for question, answer in said]
    rows = features(asked, tmp_path, ("rationale", "findings"))
    alike = rows["rationale"] @ rows["rationale"].T
    expected = [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
    assert alike == pytest.approx(np.array(expected), abs=1e-6)
    assert rows["findings"].sum(axis=1).tolist() == [1, 1, 0, 0, 0]


def test_an_even_image_and_an_empty_text_are_zero_rows_not_nan() -> None:
    from PIL import Image

    assert thumbnail(Image.new("L", (40, 30), 7)).tolist() == [0.0] * 256
    assert bags([""]).sum() == 0
