"""Corrupt views that show no evidence: taken off, or dropped; against a loop, against plain forwards, after a kill."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref import store
from medpref.curation import evidence
from medpref.curation.builder import parse_builder
from medpref.curation.evidence import Drop, parse_evidence, sift
from medpref.errors import RecipeError
from medpref.report.card import card_of
from medpref.report.values import PairSet
from medpref.schema import CHOSEN, CLEAN, CORRUPT, Branch, PreferencePair, Reply

from .studies import own_replies, train_split
from .test_build import FIRE, MMEDPO, build, content

NATS = 0.5
BOTH = [{**FIRE, "evidence": NATS}, {**MMEDPO[1], "evidence": {"kind": "drop", "nats": NATS}}]
CLEAN_LOG_PROB = -1.0


def drop_of(pair: PreferencePair) -> float:
    """Between -0.2 and 1.4 nats, by what the pair shows and says."""
    told = [pair.question, pair.replies[CHOSEN].text, pair.views[CORRUPT][0].sha256]
    return int(hashlib.sha256(str(told).encode()).hexdigest()[:8], 16) / 2**32 * 1.6 - 0.2


class Reader:
    """A reference made by hand; counts what it is asked."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, pairs: Sequence[PreferencePair]) -> list[dict[Branch, float]]:
        self.calls.append(len(pairs))
        assert all(set(pair.replies) == {CHOSEN} and set(pair.views) == {CLEAN, CORRUPT} for pair in pairs)
        return [
            {Branch(CLEAN, CHOSEN): CLEAN_LOG_PROB, Branch(CORRUPT, CHOSEN): CLEAN_LOG_PROB - drop_of(pair)}
            for pair in pairs
        ]


def plain(builders: Any) -> Any:
    return [{key: value for key, value in one.items() if key != "evidence"} for one in builders]


def test_the_views_that_stay_are_those_of_a_loop_over_the_pairs(tmp_path: Path) -> None:
    _, before, _ = build(plain(BOTH), tmp_path, out="plain", prefix="pairs/x")
    counts, after, folder = build(BOTH, tmp_path, reader=Reader())
    held = {pair.id: pair for pair in after}
    asked = kept = 0
    for pair in before:
        if CORRUPT not in pair.views:
            assert held[pair.id].views == pair.views
            assert "evidence_drop" not in held[pair.id].provenance
            continue
        asked += 1
        drop = drop_of(pair)
        kept += drop > NATS
        if drop > NATS:
            assert (held[pair.id].views, held[pair.id].replies) == (pair.views, pair.replies)
            assert held[pair.id].provenance["corruption"] == pair.provenance["corruption"]
            assert held[pair.id].provenance["evidence_drop"] == pytest.approx(drop, abs=1e-4)
        elif "rejected" in pair.replies:
            assert held[pair.id].views == {CLEAN: pair.views[CLEAN]}
            assert held[pair.id].replies == pair.replies
            assert held[pair.id].provenance["no_corrupt_view"] == f"evidence: drop {drop:.4g} <= 0.5 nats"
            assert "corruption" not in held[pair.id].provenance
        else:
            assert pair.id not in held
    assert 5 < kept < asked - 5
    assert (counts["evidence_asked"], counts["evidence_share"]) == (asked, round(kept / asked, 4))
    card = store.read_json(folder / "card.json")
    assert {name: one["asked"] for name, one in card["evidence"].items()} == {"edits": 18, "visual": 18}
    assert sum(one["kept"] for one in card["evidence"].values()) == kept
    assert all(one["share"] == round(one["kept"] / one["asked"], 4) for one in card["evidence"].values())
    reason = "visual: evidence: the corrupt view lowers log p of the chosen reply by 0.5 nats or less"
    assert card["dropped"][reason] == 18 - card["evidence"]["visual"]["kept"] > 0
    told = [(label, value) for label, value, _ in card_of(PairSet(name="x", card=card)).facts]
    shares = [("Corrupt views with evidence", f"{one['share']:.4g}") for one in card["evidence"].values()]
    assert [fact for fact in told if fact in shares] == shares


def test_without_the_key_nothing_is_asked_and_the_card_is_silent(tmp_path: Path) -> None:
    reader = Reader()
    counts, _, folder = build(plain(BOTH), tmp_path, reader=reader)
    assert reader.calls == []
    assert "evidence" not in store.read_json(folder / "card.json")
    assert not [name for name in counts if name.startswith("evidence")]


def test_an_interrupt_loses_one_chunk_and_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "CHUNK", 8)
    _, _, whole = build(BOTH, tmp_path, out="whole", prefix="pairs/x", reader=Reader())

    class Stops(Reader):
        def __call__(self, pairs: Sequence[PreferencePair]) -> list[dict[Branch, float]]:
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().__call__(pairs)

    with pytest.raises(KeyboardInterrupt):
        build(BOTH, tmp_path, out="cut", prefix="pairs/x", reader=Stops())
    reader = Reader()
    build(BOTH, tmp_path, out="cut", prefix="pairs/x", reader=reader)
    assert reader.calls == [8, 8, 4]  # 36 views: two chunks were journalled
    assert content(tmp_path / "pairs" / "cut") == content(whole)


def test_imported_pairs_have_the_check_of_the_builder_that_makes_their_views(tmp_path: Path) -> None:
    examples = train_split(tmp_path)
    given = [
        PreferencePair(
            id=f"imported-{one.id}", example=one.id, patient=one.patient, question=one.question,
            views={"clean": one.images}, replies={"chosen": Reply(text="right side"), "rejected": Reply(text="left")},
        )
        for one in examples
    ]  # fmt: skip
    options = {"examples": examples, "own": own_replies(examples), "imported": given, "reader": Reader()}
    _, pairs, folder = build([{**FIRE, "evidence": NATS}], tmp_path, **options)
    seen = [pair for pair in pairs if pair.provenance["builder"] == "imported"]
    assert len(seen) == 27
    assert {(CORRUPT in pair.views) == (pair.provenance["evidence_drop"] > NATS) for pair in seen if "evidence_drop"
            in pair.provenance} == {True}  # fmt: skip
    assert store.read_json(folder / "card.json")["evidence"]["imported"]["asked"] == 18
    _, pairs, folder = build([FIRE], tmp_path, out="y", **options)
    assert sum(CORRUPT in pair.views for pair in pairs) == 36


def row(place: int) -> dict[str, Any]:
    image = {"path": "a.png", "sha256": "a" * 64}
    pair = PreferencePair(
        id=f"v/{place}", example=str(place), patient="p", question=str(place),
        views={"clean": (image,), "corrupt": (image,)}, replies={"chosen": {"text": "a"}, "rejected": {"text": "b"}},
    )  # fmt: skip
    return {"pair": pair.model_dump(mode="json"), "builder": "v"}


def kept_of(drops: Sequence[float], nats: float, folder: Path) -> set[int]:
    def read(pairs: Sequence[PreferencePair]) -> list[dict[Branch, float]]:
        return [{Branch(CLEAN, CHOSEN): 0.0, Branch(CORRUPT, CHOSEN): -drops[int(pair.question)]} for pair in pairs]

    path = folder / "journal.jsonl"
    path.unlink(missing_ok=True)
    with store.Journal(path) as journal:
        rows, told = sift([row(place) for place in range(len(drops))], {"v": Drop(nats=nats)}, journal, read=read)
    assert [one["pair"]["example"] for one in rows] == [str(place) for place in range(len(drops))]
    kept = {place for place, one in enumerate(rows) if CORRUPT in one["pair"]["views"]}
    assert told["v"]["kept"] == len(kept)
    return kept


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.floats(0, 3), st.floats(0, 3))
def test_a_higher_threshold_keeps_a_subset(
    tmp_path_factory: pytest.TempPathFactory, drops: list[float], one: float, two: float
) -> None:
    folder = tmp_path_factory.getbasetemp()
    low, high = sorted((one, two))
    assert kept_of(drops, high, folder) <= kept_of(drops, low, folder)
    assert kept_of(drops, low, folder) == {place for place, drop in enumerate(drops) if drop > low}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"evidence": -0.1}, "nats = -0.1"),
        ({"evidence": True}, "True; expected nats, or a mapping"),
        ({"evidence": {"kind": "drop", "nat": 1}}, "did you mean 'nats'"),
        ({"evidence": {"kind": "flip"}}, "kind = 'flip'"),
        ({"evidence": 0.1, "corrupt": None, "localize": None}, "'evidence' without 'corrupt'"),
    ],
)
def test_a_wrong_check_is_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_builder({**FIRE, **config}, "recipe x, pairs[0]")


def test_a_check_is_a_number_a_name_or_a_mapping() -> None:
    assert parse_evidence(0.3, "x") == parse_evidence({"nats": 0.3}, "x") == Drop(nats=0.3)
    assert parse_evidence("drop", "x") == Drop(nats=0.1)
    assert parse_builder(FIRE, "x").evidence is None


def test_a_check_without_a_model_to_ask_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="an evidence check; expected a model to ask"):
        build(BOTH, tmp_path)


def forward(policy: Any, pair: PreferencePair, view: str, root: Path) -> float:
    """Log p of the chosen reply by one plain forward over prompt and reply."""
    import torch

    from medpref.imaging.decode import read_image

    pixels = policy.pixels([read_image(ref.locate(root)) for ref in pair.views[view]])
    prompt = policy.prompt_ids(pair.question, pixels)
    reply, _ = policy.reply_ids(pair.replies[CHOSEN].text)
    with torch.no_grad():
        logits = policy.base(input_ids=torch.tensor([prompt + reply]), **pixels).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(prompt) + place - 1, token]) for place, token in enumerate(reply))


def test_the_reference_behind_the_check_is_a_plain_forward_loaded_once(tmp_path: Path) -> None:
    from medpref.evidence import reference_reader
    from medpref.models.policy import load_policy

    examples = [one for one in train_split(tmp_path, patients=3) if one.answer_type != "report"]
    options = {"examples": examples, "own": own_replies(train_split(tmp_path, patients=3))}
    _, before, _ = build([MMEDPO[1]], tmp_path, out="plain", **options)
    policy = load_policy("tiny:llava-mistral@random")
    drops = {
        pair.id: forward(policy, pair, CLEAN, tmp_path) - forward(policy, pair, CORRUPT, tmp_path) for pair in before
    }
    ordered = sorted(map(abs, drops.values()))
    gap, place = max((after - one, place) for place, (one, after) in enumerate(pairwise(ordered)))
    nats = ordered[place] + gap / 2  # between two drops, so that rounding decides nothing
    loaded: list[int] = []

    def load() -> Any:
        loaded.append(1)
        return policy

    reader = reference_reader(load, tmp_path)
    assert loaded == []
    # as in a stage: written under another name than the pairs will have
    builder, under = {**MMEDPO[1], "evidence": nats}, {"out": "x.partial", "prefix": "pairs/x"}
    _, after, _ = build([builder], tmp_path, reader=reader, **under, **options)
    assert loaded == [1]
    assert {pair.id for pair in after} == {name for name, drop in drops.items() if drop > nats}
    for pair in after:
        assert pair.provenance["evidence_drop"] == pytest.approx(drops[pair.id], abs=2e-4)
