import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref import store
from medpref.curation.build import build_pairs
from medpref.curation.card import histogram, leaks, lengths, spread, summarise
from medpref.curation.reweigh import Literally, Moments
from medpref.curation.style import style_test
from medpref.registry import SOURCES
from medpref.schema import ImageRef, PreferencePair, Reply, Span

IMAGE = ImageRef(path="a.png", sha256="a" * 64)


def pair(place: int, chosen: str, rejected: str, **fields) -> PreferencePair:
    replies = {"chosen": Reply(text=chosen, spans=(Span(start=0, end=1),)), "rejected": Reply(text=rejected)}
    return PreferencePair(
        id=str(place), example=str(place), patient=f"p{place % 10}", question="q", views={"clean": (IMAGE,)},
        replies=replies, **fields,
    )  # fmt: skip


def pairs_of(texts: Sequence[tuple[str, str]]) -> list[PreferencePair]:
    return [pair(place, *both) for place, both in enumerate(texts)]


def test_style_that_gives_itself_away_is_found() -> None:
    verbose = pairs_of([(f"left {n % 7}", f"it appears to be the right side of the image {n % 7}") for n in range(60)])
    found = style_test(verbose)
    assert found["auc"] > 0.99
    assert found["auc_length"] > 0.99


def test_mirrored_pairs_have_no_style() -> None:
    words = ["left", "right", "yes", "no", "upper", "lower"]
    rng = np.random.default_rng(0)
    drawn = [words[int(rng.integers(3)) * 2 :][:2] for _ in range(200)]
    mirrored = pairs_of([(two[n % 2], two[1 - n % 2]) for n, two in enumerate(drawn)])
    found = style_test(mirrored)
    assert found["auc"] < 0.62
    assert found["auc_length"] < 0.62


def test_one_giveaway_word_is_enough() -> None:
    leaky = pairs_of([(f"lung {n % 5}", f"lung {n % 5} opacified") for n in range(50)])
    assert style_test(leaky)["auc"] > 0.95


def test_too_few_pairs_are_not_tested() -> None:
    assert style_test(pairs_of([("a", "b")] * 19))["auc"] is None
    one_patient = [pair(10 * n, "a", "b") for n in range(30)]
    assert style_test(one_patient)["auc"] is None


def test_spread_and_lengths_by_hand() -> None:
    assert spread([1.0, 2.0, 3.0, 6.0]) == {"n": 4, "mean": 3.0, "std": 1.870829, "min": 1.0, "median": 2.5, "max": 6.0}
    assert spread([])["mean"] is None
    found = lengths(pairs_of([("a b", "a b c d e"), ("a b c", "a")]))
    assert found["gap"]["mean"] == 2.5
    assert found["within_2_words"] == 0.5
    assert found["rejected_longer"] == 0.5


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 2), max_size=40))
def test_the_histogram_counts_every_value(values: list[float]) -> None:
    assert sum(histogram(values)["counts"]) == len(values)


def test_the_summary_of_pairs() -> None:
    told = [
        pair(0, "left", "right", kind="side", provenance={"error": "side"}),
        pair(1, "yes", "no", kind="presence", weight=0.5),
    ]
    card = summarise(told)
    assert card["kinds"] == {"presence": 1, "side": 1}
    assert card["errors"] == {"side": 1, "unnamed": 1}
    assert card["edits"]["share"]["mean"] == 1.0
    assert card["edits"]["span_coverage"]["chosen"]["mean"] == pytest.approx((1 / 4 + 1 / 3) / 2, abs=1e-6)
    assert card["weights"]["mean"] == 0.75
    assert card["polarity"] == {"no": 0, "yes": 1}


def test_a_builder_that_gives_itself_away_is_not_hidden_by_the_others() -> None:
    words = ("left", "right", "upper", "lower", "small", "large")
    plain = [
        pair(n, words[n % 6], words[(n + 1) % 6], provenance={"builder": "rules"}) for n in range(300)
    ]  # fmt: skip
    long = [
        pair(n, words[n % 6], f"the image shows a {words[(n + 1) % 6]} lesion here", provenance={"builder": "imported"})
        for n in range(300, 330)
    ]
    card = summarise(plain + long)
    assert card["style_test"]["auc_length"] < 0.65
    told = card["by_builder"]
    assert list(told) == ["imported", "rules"]
    assert told["imported"]["style"] == told["imported"]["style_by_length"] == 1.0
    assert told["imported"]["gap_words"] == 6.0
    assert told["rules"]["gap_words"] == 0.0
    assert told["rules"]["style_by_length"] <= 0.6


def test_the_card_of_the_packs_scored_pairs_exposes_their_length(
    pack_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """MMedPO's pairs on VQA-RAD: the published gap is 11 words (github.com/aiming-lab/MMedPO, the shipped file)."""
    source = SOURCES.parse({"kind": "pack", "folder": str(pack_folder), "parts": ["vqa_rad"]}, where="test")
    examples = list(source.load(tmp_path / "examples", seed=0, prefix="examples"))
    given = list(source.pairs())
    train = [example for example in examples if example.split == "train"]
    rules = [{"name": "text", "chosen": {"kind": "reference"}, "rejected": {"kind": "hallucinate"}}]
    with caplog.at_level(logging.WARNING):
        build_pairs(rules, train, {}, tmp_path / "out", root=tmp_path, prefix="out", seed=0, imported=given)
    card = store.read_json(tmp_path / "out" / "card.json")["by_builder"]
    assert len(given) >= card["imported"]["pairs"] > 150  # duplicates go
    assert 9 < card["imported"]["gap_words"] < 15
    assert card["imported"]["rejected_longer"] > 0.85
    assert card["imported"]["style"] > 0.9
    assert card["imported"]["style_by_length"] > 0.9
    assert "style: imported" in caplog.text
    assert card["text"]["gap_words"] < 1
    assert abs(card["text"]["style_by_length"] - 0.5) < 0.15


def test_the_card_of_all_of_mmedpos_vqa_pairs_exposes_their_length(pack_folder: Path) -> None:
    """The whole VQA-RAD file, without images: the published gap is 11 words."""
    rows = [row for _, row in store.iter_lines(pack_folder / "text_only" / "mmedpo_vqa_rad.jsonl")]
    told = [
        PreferencePair(
            id=row["id"], example=row["id"], patient=row["image_name"], question=row["question"],
            views={"clean": (IMAGE,)}, weight=row["score"],
            replies={name: Reply(text=row[name]) for name in ("chosen", "rejected")},
        )
        for row in rows
    ]  # fmt: skip
    card = summarise(told)
    assert len(told) == 1797
    gaps = [len(row["rejected"].split()) - len(row["chosen"].split()) for row in rows]
    assert card["lengths"]["gap"]["mean"] == pytest.approx(np.mean(np.abs(gaps)), abs=1e-5)
    assert 10.5 < np.mean(gaps) <= card["lengths"]["gap"]["mean"] < 12
    assert card["lengths"]["rejected_longer"] > 0.9
    assert card["style_test"]["auc"] > 0.95
    assert card["style_test"]["auc_length"] > 0.9


def test_leaks_by_hand(tmp_path: Path) -> None:
    from .studies import train_split

    test = train_split(tmp_path, patients=1, split="test")
    mine = pair(0, "a", "b")
    same_image = mine.model_copy(update={"views": {"clean": test[0].images}})
    same_patient = mine.model_copy(update={"patient": test[0].patient})
    assert leaks([mine, same_image, same_patient], test) == {"held_out": 9, "by_patient": 1, "by_image": 1}


def test_moments_by_hand() -> None:
    # mean .5, std .5: z = -1, 1 -> 1 -+ sqrt(.1), clipped
    assert Moments().reweigh([0.0, 1.0]) == [0.75, 1.25]
    assert Moments(low=0, high=2).reweigh([0.0, 1.0]) == pytest.approx([1 - 0.1**0.5, 1 + 0.1**0.5])
    assert Moments().reweigh([0.3, 0.3]) == [1.0, 1.0]
    assert Moments().reweigh([]) == []


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_moments_keep_the_order_and_the_bounds(weights: list[float]) -> None:
    moved = Moments().reweigh(weights)
    assert all(0.75 <= value <= 1.25 for value in moved)
    order = np.argsort(weights, kind="stable")
    assert all(a <= b + 1e-9 for a, b in zip(np.array(moved)[order], np.array(moved)[order][1:], strict=False))
    wide = Moments(low=0, high=9).reweigh(weights)
    if np.std(weights) > 1e-6 and min(wide) > 0:
        assert np.mean(wide) == pytest.approx(1)
        assert np.var(wide) == pytest.approx(0.1)


def test_the_literal_formula_flattens_all_weights_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert Literally().reweigh([0.0, 0.5, 0.9, 1.0]) == [0.75] * 4
    assert "100 % of the weights sit on one bound" in caplog.text
