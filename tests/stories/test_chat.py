"""A language model bound by ``--judge``, from the command line to pairs on disk, against a service on loopback."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.models.fake_service import FakeService, Says, serving

from medpref import store
from medpref.curation.builder import parse_builder
from medpref.errors import RecipeError
from medpref.language.templates import check_folder, labels, load_template, shipped_templates
from medpref.models.chat import Roles
from medpref.models.chat_local import Local
from medpref.models.chat_service import Service
from medpref.models.chat_store import read_answers
from medpref.recipe import load_recipe
from medpref.roles import bind_roles, refuse_outside
from medpref.run import RunConfig
from medpref.schema import Example, ImageRef, PreferencePair

CHAT = ("--set", "pairs.0.rejected.by=chat", "--set", "pairs.0.judge.kind=chat_relevance")
SMALL = (
    *("run", "mmedpo", "--policy", "tiny:llava-mistral@random", "--set", "sft=null", "--until", "curate"),
    *("--source", "phantom:studies=8,validation=0,test=2,size_px=64"),
)


def clinician(prompt: str, number: int, body: dict[str, Any]) -> Says:
    """Lies about yes and no and among choices, copies anything else (which the checks drop), scores 0.6 or as told."""
    if "response_format" in body and body["response_format"]["json_schema"]["name"] == "RelevanceScore":
        told = re.search(r"gave the score ([\d.]+)", prompt)
        return Says(json.dumps({"reason": "so", "score": float(told[1]) if told else 0.6}))
    right = re.findall(r"<correct>(.*?)</correct>", prompt, re.DOTALL)[-1]
    choices = re.search(r"<choices>(.*?)</choices>", prompt)
    others = [one for one in (choices[1].split(" | ") if choices else []) if one.lower() != right.lower()]
    return Says(json.dumps({"choice": 0, "text": others[0] if others else right, "error": "another choice"}))


def manifest(out: Path) -> dict[str, Any]:
    return dict(store.read_json(out / "pairs/mmedpo/manifest.json")["counts"])


@pytest.fixture
def server():
    pytest.importorskip("openai", reason="the extra 'judge' (openai) is not installed")
    with serving(clinician) as held:
        yield held


def test_from_the_command_line_to_pairs_and_nothing_is_paid_twice(server: FakeService, run, tmp_path: Path) -> None:
    words = (
        *SMALL,
        *CHAT,
        "--judge",
        f"openai:{server.url}#m",
        "--set",
        "judge.price_in=1",
        "--set",
        "judge.price_out=2",
    )
    code, said = run(*words, "--out", tmp_path / "runs/a")
    assert code == 0, said
    pairs = store.read_lines(tmp_path / "runs/a/pairs/mmedpo/pairs.jsonl", PreferencePair)
    text = [pair for pair in pairs if pair.provenance["builder"] == "text"]
    assert len(text) > 10
    assert {pair.replies["rejected"].author for pair in text} == {"chat"}
    assert {pair.provenance["raw_weight"] for pair in text} == {0.6}
    counts = manifest(tmp_path / "runs/a")
    asked = sum(server.calls.values())
    assert counts["chat_asked"] == asked == len(server.calls)
    assert counts["chat_tokens_out"] == 7 * asked
    assert counts["chat_cost_usd"] == pytest.approx((counts["chat_tokens_in"] + 2 * counts["chat_tokens_out"]) / 1e6)
    assert f"chat_asked {asked}" in said
    dropped = [row["reason"] for _, row in store.iter_lines(tmp_path / "runs/a/pairs/mmedpo/dropped.jsonl")]
    assert any("the wrong answer is the reference" in reason for reason in dropped)

    code, said = run("curate", tmp_path / "runs/a")
    assert (code, "done before" in said) == (0, True)
    code, said = run(*words, "--out", tmp_path / "runs/b")
    assert code == 0, said
    assert sum(server.calls.values()) == asked
    assert manifest(tmp_path / "runs/b")["chat_asked"] == 0
    same = [(tmp_path / f"runs/{name}/pairs/mmedpo/pairs.jsonl").read_bytes() for name in "ab"]
    assert same[0] == same[1]

    replay = (*SMALL, *CHAT, "--judge", f"replay:{tmp_path}/runs/.chat", "--out", tmp_path / "elsewhere/c")
    assert run(*replay)[0] == 0
    assert (tmp_path / "elsewhere/c/pairs/mmedpo/pairs.jsonl").read_bytes() == same[0]
    assert sum(server.calls.values()) == asked


def test_killed_while_asking_and_resumed_pays_nothing_twice(server: FakeService, run, tmp_path: Path) -> None:
    """SIGKILL once a third is answered; what was filed is not asked again, and the bytes are those of a whole run."""
    code, said = run(*SMALL, *CHAT, "--judge", f"openai:{server.url}#m", "--out", tmp_path / "whole/run")
    assert code == 0, said
    questions = set(server.calls)
    server.calls.clear()
    server.served.clear()
    server.script = lambda prompt, number, body: dataclasses.replace(clinician(prompt, number, body), wait_s=0.05)
    words = (*SMALL, *CHAT, "--judge", f"openai:{server.url}#m", "--set", "judge.concurrency=4",
             "--out", str(tmp_path / "killed/run"))  # fmt: skip
    command = [sys.executable, "-c", "from medpref.cli import main; main()", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while sum(server.served.values()) < len(questions) // 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    server.settle()
    filed = [entry for path in (tmp_path / "killed/.chat").glob("*") for _, entry in read_answers(path)]
    assert 0 < len(filed) < len(questions)
    code, said = run(*words)
    assert code == 0, said
    assert set(server.calls) == questions
    known = {entry["prompt"] for entry in filed}
    repeated = [prompt for prompt, times in server.calls.items() if times > 1]
    assert not [prompt for prompt in repeated if store.digest(prompt.encode()) in known]
    assert len(repeated) <= 4
    assert manifest(tmp_path / "killed/run")["chat_asked"] == len(questions) - len(filed)
    files = [tmp_path / f"{name}/run/pairs/mmedpo/pairs.jsonl" for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_rules_bound_to_the_role_need_no_service(run, tmp_path: Path) -> None:
    code, said = run(*SMALL, *CHAT, "--judge", "rules", "--out", tmp_path / "runs/a")
    assert code == 0, said
    code, said = run(*SMALL, "--out", tmp_path / "runs/b")
    assert code == 0, said

    def texts(name: str) -> list[str]:
        pairs = store.read_lines(tmp_path / f"runs/{name}/pairs/mmedpo/pairs.jsonl", PreferencePair)
        return [f"{pair.id} {pair.weight} {[reply.text for reply in pair.replies.values()]}" for pair in pairs]

    assert texts("a") == texts("b")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (CHAT, "the role judge is used, not bound"),
        (("--judge", "rules"), "nothing here asks a model"),
        (("--prompts", "."), "nothing here asks a model"),
        (("--service-is-mine",), "nothing here asks a model"),
        (("--set", "judge.concurrency=3"), "nothing here asks a model"),
        ((*CHAT, "--judge", "opanai:http://x/v1#m"), "did you mean 'openai'"),
        ((*CHAT, "--judge", "openai:http://u:p@x/v1#m"), "url"),
        ((*CHAT, "--judge", "rules", "--prompts", "/nowhere"), "no such folder"),
        ((*CHAT, "--judge", "rules", "--service-is-mine"), "nothing here asks a model"),
    ],
)  # fmt: skip
def test_a_role_or_option_that_cannot_work_is_said_before_anything_is_written(words, said: str, run, tmp_path) -> None:
    code, told = run(*SMALL, *words, "--out", tmp_path / "out")
    assert code == 2
    assert said in told
    assert not (tmp_path / "out").exists()
    assert told.count("\n") == 1


def test_a_service_that_is_down_is_said_and_the_same_command_goes_on(run, tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="the extra 'judge' (openai) is not installed")
    with serving(clinician) as server:
        server.alive = False
        url = server.url
        server.script = lambda prompt, number, body: Says(status=503)
        words = (*SMALL, *CHAT, "--judge", f"openai:{url}#m", "--out", tmp_path / "out")
        fast = ("--set", "judge.tries=2", "--set", "judge.backoff_s=0.001")
        code, said = run(*words, *fast)
        assert code == 2
        assert "what was answered is kept" in said
        server.alive, server.script = True, clinician
        assert run(*words, *fast)[0] == 0


def example(**fields: Any) -> Example:
    image = ImageRef(path="a.png", sha256="a" * 64)
    return Example(id="e", patient="p", images=(image,), question="q", answer="a", split="train", **fields)


def test_credentialed_data_and_an_outside_service_need_the_users_word() -> None:
    def roles(**fields: Any) -> Roles:
        return Roles((Service(model="m", **fields),))

    secret = [example(), example(credentialed=True, source="mimic_cxr")]
    with pytest.raises(RecipeError, match=r"credentialed data \(mimic_cxr\) and an outside service.*service-is-mine"):
        refuse_outside(roles(url="https://api.example.org/v1"), secret)
    refuse_outside(roles(url="https://api.example.org/v1"), [example()])
    refuse_outside(roles(url="https://api.example.org/v1", mine=True), secret)
    refuse_outside(roles(url="http://127.0.0.1:8000/v1"), secret)
    refuse_outside(Roles(), secret)


def test_credentialed_data_is_refused_from_the_command_line_before_any_training(run, tmp_path: Path) -> None:
    import numpy as np

    from medpref.imaging.decode import encode_png

    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((32, 32), np.uint8)))
    rows = [
        {"image": "a.png", "question": "Is there an effusion?", "answer": "yes", "split": split, "credentialed": True,
         "patient": split}
        for split in ("train", "test")
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("run", "mmedpo", "--policy", "tiny:llava-mistral@random", "--source", f"jsonl:{tmp_path}/rows.jsonl",
             *CHAT, "--judge", "openai:https://api.example.org/v1#m", "--out", tmp_path / "out")  # fmt: skip
    code, said = run(*words)
    assert code == 2
    assert "credentialed data" in said
    assert not (tmp_path / "out/train").exists()


def config(**fields: Any) -> RunConfig:
    return RunConfig(recipes=("mmedpo",), source="phantom", policy="tiny:llava-mistral", **fields)


def test_answers_lie_beside_the_run_or_where_the_user_says(tmp_path: Path) -> None:
    recipe = load_recipe("mmedpo", overrides=["pairs.0.rejected.by=chat"])
    spec = ("openai:http://localhost:1/v1#m",)
    beside = bind_roles(config(judge=spec), tmp_path / "runs/a", [recipe])
    assert beside.chats[0].answers.folder == tmp_path / "runs/.chat"
    own = bind_roles(config(judge=spec, chat_cache=str(tmp_path / "x")), tmp_path / "runs/a", [recipe])
    assert own.chats[0].answers.folder == tmp_path / "x"
    weighed = load_recipe("mmedpo", overrides=["pairs.0.judge.kind=chat_relevance"])
    panel = bind_roles(config(judge=(*spec, "rules")), tmp_path, [weighed])
    assert [chat.identity for chat in panel.chats] == ["openai:http://localhost:1/v1#m", "rules"]
    assert not (tmp_path / "runs").exists()


def test_a_panel_in_a_panel_is_refused(tmp_path: Path) -> None:
    judge = "pairs.0.judge={kind: panel, judges: [relevance, {kind: chat_relevance}]}"
    with pytest.raises(RecipeError, match="chat_relevance inside a panel"):
        bind_roles(config(judge=("rules",)), tmp_path, [load_recipe("mmedpo", overrides=[judge])])


def test_every_shipped_prompt_fills_and_asks_for_json() -> None:
    values = {
        "question": "Q?", "answer": "A", "right": "A", "reply": "W", "said": "W", "previous": 0.5, "kind": "side",
        "choices": ["A", "W"], "candidates": ["W"], "report": False, "facts": ["F."], "rationale": "R.", "wrong": "W",
    }  # fmt: skip
    assert shipped_templates() == ["correct", "counterfactual", "facts", "hallucinate", "rationale", "relevance"]
    for name in shipped_templates():
        for changed in ({}, {"report": True, "previous": None, "wrong": None, "choices": [], "candidates": []}):
            text = load_template(name).fill(**{**values, **changed})
            assert "Answer with a JSON object and nothing else" in text
            assert "Q?" in text
            assert "{{" not in text


def test_a_value_is_never_read_as_a_template() -> None:
    text = load_template("relevance").fill(question="{{ 7 * 7 }} {% if", answer="A", reply="W", previous=None)
    assert "{{ 7 * 7 }} {% if" in text


def test_own_prompts_replace_ours_by_name(tmp_path: Path) -> None:
    (tmp_path / "relevance.jinja").write_text("Score {{ reply }}.")
    assert load_template("relevance", tmp_path).fill(reply="W", question="Q") == "Score W."
    assert load_template("correct", tmp_path) == load_template("correct")
    assert labels(tmp_path)[:4] == labels()[:4]
    assert labels(tmp_path)[4] != labels()[4]
    check_folder(tmp_path)
    (tmp_path / "relevance.jinja").write_text("Score {{ replay }}.")
    with pytest.raises(RecipeError, match=r"relevance\.jinja: 'replay' is undefined"):
        load_template("relevance", tmp_path).fill(reply="W")
    (tmp_path / "relevance.jinja").write_text("{{ ''.__class__.__mro__ }}")
    with pytest.raises(RecipeError, match="unsafe"):
        load_template("relevance", tmp_path).fill(reply="W")
    (tmp_path / "relevence.jinja").write_text("x")
    with pytest.raises(RecipeError, match="did you mean 'relevance'"):
        check_folder(tmp_path)


PAGE = Path(__file__).resolve().parents[2] / "docs" / "language_models.md"


@pytest.mark.parametrize(
    "line", [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("medpref run")]
)
def test_every_command_of_the_page_binds(line: str, tmp_path: Path) -> None:
    _, _, recipe, *options = shlex.split(line)
    of = {name: [b for a, b in itertools.pairwise(options) if a == name] for name in ("--set", "--judge")}
    mine = "--service-is-mine" in options
    to_recipe = [one for one in of["--set"] if not one.startswith("judge.")]
    asking = load_recipe(recipe, overrides=to_recipe)
    given = config(judge=tuple(of["--judge"]), overrides=tuple(of["--set"]), service_is_mine=mine)
    roles = bind_roles(given, tmp_path / "runs/a", [asking])
    assert len(roles.chats) == len(of["--judge"]) > 0
    for number, builder in enumerate(asking.pairs):
        parse_builder(builder, f"pairs[{number}]")


def test_the_page_names_every_setting() -> None:
    told = PAGE.read_text(encoding="utf-8")
    for back in (Service, Local):
        for name in set(back.model_fields) - {"kind", "url", "model", "mine"}:
            assert f"`{name}" in told, name
