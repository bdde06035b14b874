"""The data card's numbers by hand."""

from __future__ import annotations

import re

from medpref.report.card import card_of
from medpref.report.values import PairSet, Run
from medpref.schema import PreferencePair, Reply, Span

SHA = "0" * 64


def _pair(index: int, chosen: str, rejected: str, *, weight: float = 1.0, corrupt: bool = True) -> PreferencePair:
    image = ({"path": "a.png", "sha256": SHA},)
    return PreferencePair(
        id=str(index),
        example=f"e{index // 2}",
        patient="p",
        question="q",
        views={"clean": image, "corrupt": image} if corrupt else {"clean": image},
        replies={
            "chosen": Reply(text=chosen, spans=(Span(start=0, end=1),), author="reference"),
            "rejected": Reply(text=rejected, author="policy"),
        },
        weight=weight,
        kind="side" if index else "zone",
    )


PAIRS = (
    _pair(0, "ab", "a b c d"),
    _pair(1, "ab cd", "ab", weight=1.25),
    _pair(2, "ab", "a b", weight=0.75, corrupt=False),
)


def test_facts_by_hand() -> None:
    card = card_of(PairSet(name="x", pairs=PAIRS, dropped={"few": 1, "many": 9}))
    facts = {name: value for name, value, _ in card.facts}
    assert facts["Pairs"] == "3"
    assert facts["Examples"] == "2"
    assert facts["Patients"] == "1"
    assert facts["With a corrupt view"] == "66.7 %"
    assert facts["Words, chosen"] == "1.3"
    assert facts["Words, rejected"] == "2.3"
    assert facts["Length gap, words"] == "−1.000"
    assert facts["Text inside spans"] == "20.0 %"
    assert card.kinds == (("side", 2), ("zone", 1))
    assert card.authors == (("chosen", "reference", 3), ("rejected", "policy", 3))
    assert card.dropped == (("many", 9), ("few", 1))


def test_histograms_count_every_pair_once() -> None:
    card = card_of(PairSet(name="x", pairs=PAIRS))
    assert re.findall(r"(\w+) (\d+) in all", str(card.lengths)) == [("chosen", "3"), ("rejected", "3")]
    assert "3 in all" in str(card.weights)


def test_equal_weights_are_a_number_and_no_figure() -> None:
    card = card_of(PairSet(name="x", pairs=(PAIRS[0],)))
    assert card.weights is None
    assert ("Weight of every pair", "1", "") in card.facts


def test_what_curation_recorded_is_shown(run: Run) -> None:
    card = card_of(run.pair_sets[0])
    facts = {name: (value, note) for name, value, note in card.facts}
    assert facts["Style test, AUC"][0] == "0.53"
    assert facts["Mask share"][0] == "0.041"
    assert facts["Leaks by patient"][0] == "0"
    recorded = dict(card.recorded)
    assert recorded["Counts: dropped"] == "10"
    assert recorded["Weights: histogram: counts"] == "10, 0"
    assert "Inputs" not in recorded


def test_a_set_without_pairs() -> None:
    card = card_of(PairSet(name="x"))
    assert card.facts == (("Pairs", "0", ""),)
    assert card.lengths is card.weights is None
