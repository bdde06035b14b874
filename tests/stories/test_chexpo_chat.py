"""The recipe whose writers ask a language model: refused where nobody is bound, checked whoever answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.models.fake_service import Says, serving

from medpref import store
from medpref.schema import PreferencePair

Command = Callable[..., tuple[int, str]]
SMALL = (
    *("--policy", "tiny:llava-mistral@random", "--source", "phantom:studies=12,validation=0,test=2,size_px=64"),
    *("--set", "source.questions=[side,presence,compare]", "--set", "sft=null", "--until", "curate"),
)
OTHER = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}


def pairs(out: Path, name: str) -> list[PreferencePair]:
    return store.read_lines(out / f"pairs/{name}/pairs.jsonl", PreferencePair)


def test_without_a_judge_it_is_refused_in_one_line_before_anything_is_written(run: Command, tmp_path: Path) -> None:
    code, said = run("run", "chexpo_chat", *SMALL, "--out", tmp_path / "out")
    assert code == 2
    assert said.startswith("error: recipe chexpo_chat: the role judge is used, not bound; expected")
    assert "--judge" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_with_the_rules_it_makes_the_pairs_of_chexpo(run: Command, tmp_path: Path) -> None:
    code, said = run("run", "chexpo_chat", *SMALL, "--judge", "rules", "--out", tmp_path / "a")
    assert code == 0, said
    code, said = run("run", "chexpo", *SMALL, "--out", tmp_path / "b")
    assert code == 0, said
    asked, plain = pairs(tmp_path / "a", "chexpo_chat"), pairs(tmp_path / "b", "chexpo")
    texts = [
        [(one.id, {name: reply.text for name, reply in one.replies.items()}) for one in held] for held in (asked, plain)
    ]
    assert texts[0] == texts[1]
    assert {len(pair.views["clean"]) for pair in asked} == {1, 2}
    assert {pair.provenance["chat_chosen"]["model"] for pair in asked} == {"rules"}
    assert {reply.author for pair in asked for reply in pair.replies.values()} == {"chat"}


def writer(prompt: str, number: int, body: dict[str, Any]) -> Says:
    """Puts the facts one after another, and exchanges left and right in one of them (or nothing, which is dropped)."""
    form = body["response_format"]["json_schema"]["name"]
    if form == "FactualRationale":
        return Says(json.dumps({"rationale": " ".join(re.findall(r"<fact>(.*?)</fact>", prompt))}))
    right, said = (re.findall(rf"<{tag}>(.*?)</{tag}>", prompt)[-1] for tag in ("correct", "explanation"))
    turned = re.sub(r"\b(left|right)\b", lambda hit: OTHER[hit[0]], said, count=1)
    return Says(json.dumps({"answer": OTHER.get(right, right), "rationale": turned, "changed": "side"}))


def test_a_service_writes_and_what_it_gets_wrong_is_dropped_with_its_reason(run: Command, tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="the extra 'judge' (openai) is not installed")
    with serving(writer) as server:
        words = ("--judge", f"openai:{server.url}#m", "--out", tmp_path / "runs/a")
        code, said = run("run", "chexpo_chat", *SMALL, *words)
        assert code == 0, said
        asked = sum(server.calls.values())
    made = pairs(tmp_path / "runs/a", "chexpo_chat")
    assert {pair.kind for pair in made} == {"side"}
    for pair in made:
        chosen, rejected = (pair.replies[name].text for name in ("chosen", "rejected"))
        assert rejected == re.sub(r"\b(left|right)\b", lambda hit: OTHER[hit[0]], chosen, flags=re.IGNORECASE)
        assert pair.provenance["error"] == "side"
        assert pair.provenance["chat_rejected"]["model"].endswith("#m")
    assert f"chat_asked {asked}" in said
    assert asked >= 2 * len(made) > 4
    reasons = [row["reason"] for _, row in store.iter_lines(tmp_path / "runs/a/pairs/chexpo_chat/dropped.jsonl")]
    assert any(reason.startswith("counterfactual: it is not wrong") for reason in reasons)
