"""Pairs by a language model: questions go out together, none twice, none too many; the bytes do not depend on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medpref import store
from medpref.curation.build import build_pairs
from medpref.curation.chat_ahead import asks
from medpref.models.chat import ChatRequest, Roles
from medpref.models.chat_cache import CachedChat
from medpref.models.chat_replay import Replay
from medpref.models.chat_store import AnswerStore
from medpref.schema import Example, PreferencePair

from .scripted import Scripted, by_rule, steady
from .studies import own_replies, train_split

TEXT = {
    "name": "text",
    "chosen": {"kind": "reference"},
    "rejected": {"kind": "hallucinate", "by": "chat"},
    "judge": {"kind": "chat_relevance"},
}
RATIONALES = {
    "name": "rationales",
    "chosen": {"kind": "rationale", "by": "chat"},
    "rejected": {"kind": "counterfactual", "by": "chat"},
}
EDITS = {"name": "edits", "chosen": {"kind": "correct", "by": "chat"}}


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    return train_split(tmp_path)


def build(root: Path, examples, builders, roles: Roles, out: str = "x"):
    folder = root / "pairs" / out
    counts = build_pairs(
        builders, examples, own_replies(examples), folder, root=root, prefix="pairs/x", seed=0, roles=roles
    )
    return counts, folder


def chatting(root: Path, says=by_rule, *names: str, cache: str = "answers") -> Roles:
    answers = AnswerStore(root / cache)
    return Roles(tuple(CachedChat(Scripted(says, name), answers) for name in names or ("one",)))


def backs(roles: Roles) -> list[Scripted]:
    return [chat.chat for chat in roles.chats]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.json*") if path.name != "card.json"}


def test_questions_of_all_examples_go_out_together_wave_by_wave(tmp_path: Path, examples) -> None:
    """The writer's first, then the judge's: two calls of the back end, each question once."""
    roles = chatting(tmp_path)
    counts, _ = build(tmp_path, examples, [TEXT], roles)
    (back,) = backs(roles)
    assert len(back.calls) == 2
    assert {request.form.__name__ for request in back.calls[0]} == {"Hallucination"}
    assert {request.form.__name__ for request in back.calls[1]} == {"RelevanceScore"}
    keys = [request.key for call in back.calls for request in call]
    assert len(keys) == len(set(keys))
    assert counts["pairs"] > 20


@pytest.mark.parametrize("builder", [TEXT, RATIONALES, EDITS], ids=lambda one: one["name"])
def test_asked_together_or_one_by_one_makes_the_same_bytes(tmp_path: Path, examples, builder) -> None:
    _, ahead = build(tmp_path, examples, [builder], chatting(tmp_path, by_rule, "m"))
    one_by_one = Roles((Scripted(steady(by_rule), "m"),))
    _, alone = build(tmp_path, examples, [builder], one_by_one, "alone")
    assert content(ahead) == content(alone)
    assert all(len(call) == 1 for call in one_by_one.chats[0].calls)


def test_a_second_run_asks_nothing_and_a_replay_needs_no_model(tmp_path: Path, examples) -> None:
    _, first = build(tmp_path, examples, [TEXT, RATIONALES], chatting(tmp_path))
    again = chatting(tmp_path)
    _, second = build(tmp_path, examples, [TEXT, RATIONALES], again, "second")
    assert backs(again)[0].asked == 0
    assert again.chats[0].tally.from_cache > 0
    assert content(first) == content(second)
    _, replayed = build(
        tmp_path, examples, [TEXT, RATIONALES], Roles((Replay(file=str(tmp_path / "answers")),)), "third"
    )
    assert content(replayed) == content(first)


def test_under_a_limit_no_more_is_asked_than_can_be_needed(tmp_path: Path, examples) -> None:
    roles = chatting(tmp_path)
    counts, _ = build(tmp_path, examples, [{**TEXT, "limit": 4, "judge": None}], roles)
    assert counts["pairs"] == 4
    assert backs(roles)[0].asked == 4


def test_a_run_stopped_by_an_outage_goes_on_where_it_was(tmp_path: Path, examples) -> None:
    from medpref.errors import ModelError

    seen: list[str] = []

    def failing(request: ChatRequest) -> Any:
        seen.append(request.key)
        if len(seen) == 9:
            raise ModelError("one", given="gone", expected="an answer", todo="wait")
        return by_rule(request)

    roles = chatting(tmp_path, failing)
    with pytest.raises(ModelError):
        build(tmp_path, examples, [TEXT], roles)
    later = chatting(tmp_path)
    _, folder = build(tmp_path, examples, [TEXT], later)
    asked = [request.key for call in backs(later)[0].calls for request in call]
    assert not set(asked) & set(seen[:8])
    _, whole = build(tmp_path, examples, [TEXT], chatting(tmp_path, cache="other"), "whole")
    assert content(folder) == content(whole)


def test_no_answer_drops_the_pair_with_the_reason_and_no_judgement_weighs_one(tmp_path: Path, examples) -> None:
    def says(request: ChatRequest) -> Any:
        return (
            "refused: no"
            if request.form.__name__ == "RelevanceScore" or "nodules" in request.prompt
            else by_rule(request)
        )

    _, folder = build(tmp_path, examples, [TEXT], chatting(tmp_path, says))
    dropped = [row for _, row in store.iter_lines(folder / "dropped.jsonl")]
    assert [row["reason"] for row in dropped] == ["hallucinate: refused: no"] * 3
    pairs = store.read_lines(folder / "pairs.jsonl", PreferencePair)
    assert {pair.weight for pair in pairs} == {1.0}
    verdict = pairs[0].provenance["verdict"]
    assert verdict["value"] is None
    assert verdict["evidence"]["model 1 failed"] == "refused: no"


def test_provenance_says_model_prompt_and_question(tmp_path: Path, examples) -> None:
    _, folder = build(tmp_path, examples, [TEXT], chatting(tmp_path))
    pair = store.read_lines(folder / "pairs.jsonl", PreferencePair)[0]
    told = pair.provenance["chat_rejected"]
    assert told["model"] == "one"
    assert told["prompt"].startswith("hallucinate@")
    requests = {row["value"]["request"] for _, row in store.iter_lines(tmp_path / "answers" / "answers-0001.jsonl")}
    assert told["request"] in requests
    assert pair.provenance["verdict"]["evidence"]["prompt"].startswith("relevance@")


def test_other_models_or_prompts_are_other_pairs(tmp_path: Path, examples) -> None:
    build(tmp_path, examples, [TEXT], chatting(tmp_path))
    card = (tmp_path / "pairs/x/card.json").read_text()
    build(tmp_path, examples, [TEXT], chatting(tmp_path))
    assert (tmp_path / "pairs/x/card.json").read_text() == card
    other = chatting(tmp_path, by_rule, "two")
    build(tmp_path, examples, [TEXT], other)
    assert backs(other)[0].asked > 0
    prompts = tmp_path / "mine"
    prompts.mkdir()
    (prompts / "hallucinate.jinja").write_text("Lie about {{ question }}")
    mine = Roles(other.chats, prompts)
    build(tmp_path, examples, [TEXT], mine)
    pair = store.read_lines(tmp_path / "pairs/x/pairs.jsonl", PreferencePair)[0]
    assert pair.provenance["chat_rejected"]["prompt"].startswith("hallucinate@")
    asked = [request.prompt for call in backs(mine)[0].calls for request in call]
    assert sum(prompt.startswith("Lie about") for prompt in asked) == len({example.question for example in examples})


def test_who_asks_is_seen_in_the_recipe() -> None:
    assert asks([TEXT])
    assert asks([RATIONALES])
    assert asks({"chosen": {"kind": "phrases", "of": {"by": "chat"}}})
    assert asks({"judge": "chat_relevance"})
    assert not asks([{"chosen": {"kind": "reference"}, "rejected": {"kind": "hallucinate", "by": "rules"}}])
    assert not asks([{"name": "chat", "judge": {"kind": "relevance"}}])
