import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.curation.expand import Neighbours
from medpref.curation.mine import (
    CONFIDENT_WRONG,
    MIDDLING_WRONG,
    UNSURE_RIGHT,
    UNSURE_WRONG,
    Balanced,
    Confidence,
    cell_of,
    confidence,
    matched,
    quotas,
    stratum,
)
from medpref.schema import Example, OwnReply

from .studies import context_of, train_split


def reply(*log_probs: float, text: str = "x") -> OwnReply:
    return OwnReply(example="e", text=text, log_probs=log_probs)


def test_confidence_by_hand_without_the_end_token() -> None:
    said = reply(math.log(0.9), math.log(0.4), math.log(1e-9))
    assert confidence(said) == pytest.approx(math.sqrt(0.36))
    assert confidence(said, "minimum") == pytest.approx(0.4)
    assert confidence(said, "first") == pytest.approx(0.9)
    assert confidence(said, "minimum", 1) == pytest.approx(0.9)
    assert confidence(reply()) is None
    assert confidence(reply(math.log(0.5))) == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-5, 0), min_size=2, max_size=8))
def test_minimum_is_never_above_the_geometric_mean(log_probs: list[float]) -> None:
    low, mean = confidence(reply(*log_probs), "minimum"), confidence(reply(*log_probs))
    assert low is not None
    assert mean is not None
    assert 0 <= low <= mean + 1e-12 <= 1 + 1e-9


def test_the_four_cells() -> None:
    assert cell_of(0.9, False, 0.8, 0.3) == CONFIDENT_WRONG
    assert cell_of(0.5, False, 0.8, 0.3) == MIDDLING_WRONG
    assert cell_of(0.1, False, 0.8, 0.3) == UNSURE_WRONG
    assert cell_of(0.1, True, 0.8, 0.3) == UNSURE_RIGHT
    assert cell_of(0.5, True, 0.8, 0.3) is None
    assert cell_of(0.9, True, 0.8, 0.3) is None


def crowd(tmp_path: Path, count: int = 40) -> tuple[list[Example], dict[str, OwnReply]]:
    """One closed question asked ``count`` times; even ones are answered wrongly; confidence rises with the number."""
    first = train_split(tmp_path, patients=1)[0]
    examples = [first.model_copy(update={"id": f"{n:03d}", "patient": f"p{n}"}) for n in range(count)]
    own = {}
    for n, example in enumerate(examples):
        sure = math.log((n + 1) / (count + 1))
        own[example.id] = OwnReply(example=example.id, text="No" if n % 2 == 0 else "Yes", log_probs=(sure, -1.0))
    return examples, own


def test_confident_errors_come_first_and_unsure_replies_are_bounded(tmp_path: Path) -> None:
    examples, own = crowd(tmp_path)
    context = context_of(examples, tmp_path)
    context = type(context)(**{**context.__dict__, "own": own})
    picks = Confidence(size=15).select(examples, context)
    cells = [pick.reason["cell"] for pick in picks]
    assert len(picks) == 15
    counted = Counter(cells)
    assert counted[UNSURE_RIGHT] <= 3
    assert counted[UNSURE_WRONG] <= 3
    assert cells[: counted[CONFIDENT_WRONG]] == [CONFIDENT_WRONG] * counted[CONFIDENT_WRONG]
    sure = [pick.reason["confidence"] for pick in picks if pick.reason["cell"] == CONFIDENT_WRONG]
    assert sure == sorted(sure, reverse=True)
    assert picks[0].example.id == "038"
    # thresholds: 70th percentile of wrong (1, 3 ... 39)/41, 30th of right (2, 4 ... 40)/41
    assert picks[0].reason["tau_high"] == pytest.approx(np.quantile(np.arange(1, 40, 2) / 41, 0.7), abs=1e-6)
    assert picks[0].reason["tau_low"] == pytest.approx(np.quantile(np.arange(2, 41, 2) / 41, 0.3), abs=1e-6)


def test_without_a_size_the_shares_still_hold(tmp_path: Path) -> None:
    examples, own = crowd(tmp_path)
    context = type(context_of(examples, tmp_path))(0, own=own)
    picks = Confidence().select(examples, context)
    counted = Counter(pick.reason["cell"] for pick in picks)
    assert counted[UNSURE_RIGHT] <= 0.2 * len(picks) + 1
    assert counted[CONFIDENT_WRONG] + counted[MIDDLING_WRONG] >= 0.6 * len(picks) - 1


def test_replies_without_probabilities_are_not_mined(tmp_path: Path) -> None:
    examples, own = crowd(tmp_path)
    bare = {name: one.model_copy(update={"log_probs": ()}) for name, one in own.items()}
    assert Confidence().select(examples, type(context_of(examples, tmp_path))(0, own=bare)) == []


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 40), min_size=1), st.integers(1, 120), st.floats(0, 1))
def test_quotas_fill_the_target_and_no_stratum_over_its_size(counts: dict[str, int], total: int, mix: float) -> None:
    taken = quotas(counts, total, mix)
    assert sum(taken.values()) == min(total, sum(counts.values()))
    assert all(0 <= taken[name] <= counts[name] for name in counts)


def test_quotas_by_hand() -> None:
    # half equal, half in proportion: 20 * (0.5/2 + 0.5*0.75) = 12.5 and 7.5; the larger remainder takes the odd one
    assert quotas({"a": 75, "b": 25}, 20, 0.5) in ({"a": 13, "b": 7}, {"a": 12, "b": 8})
    assert quotas({"a": 75, "b": 25}, 20, 0.0) == {"a": 15, "b": 5}
    assert quotas({"a": 75, "b": 25}, 20, 1.0) == {"a": 10, "b": 10}


def test_yes_and_no_are_matched() -> None:
    assert matched({"x/yes": 7, "x/no": 3, "y": 5, "z/yes": 2}) == {"x/yes": 3, "x/no": 3, "y": 5, "z/yes": 0}


def test_balanced_takes_as_many_yes_as_no(tmp_path: Path) -> None:
    examples = train_split(tmp_path, patients=12)
    picks = Balanced(size=60, mix=1.0).select(examples, context_of(examples, tmp_path))
    counted = Counter(stratum(pick.example) for pick in picks)
    assert counted["presence/closed/yes"] == counted["presence/closed/no"] > 0
    assert len(counted) == 9
    assert max(counted.values()) - min(counted.values()) <= 1
    assert [pick.example.id for pick in picks] == [
        one.id for one in examples if one.id in {p.example.id for p in picks}
    ]


def test_neighbours_stay_within_their_bounds(tmp_path: Path) -> None:
    examples = train_split(tmp_path, patients=14)
    held = type(context_of(examples, tmp_path))(
        **{**context_of(examples, tmp_path).__dict__, "held_patients": frozenset({"train-p3"})}
    )
    miner = Neighbours(seeds={"kind": "confidence", "size": 6}, size=20, per_seed=2, per_patient=3, ceiling=0.9)
    picks = miner.select(examples, held)
    seeds = [pick for pick in picks if pick.reason["source"] == "seed"]
    more = [pick for pick in picks if pick.reason["source"] == "retrieved"]
    assert len(seeds) == 6
    assert 0 < len(more) <= 14
    assert all(pick.example.patient != "train-p3" for pick in picks)
    assert max(Counter(pick.reason["seed"] for pick in more).values()) <= 2
    assert len({pick.example.id for pick in picks}) == len(picks)
    by_id = {example.id: example for example in examples}
    for pick in more:
        seed = by_id[pick.reason["seed"]]
        assert seed.kind == pick.example.kind
        assert seed.images[0].sha256 != pick.example.images[0].sha256
        assert seed.patient != pick.example.patient
    assert [pick.example.id for pick in miner.select(examples, held)] == [pick.example.id for pick in picks]
