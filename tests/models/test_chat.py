"""Forms, specs, rules, the local back end, and a real `transformers serve` where its dependencies are there."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from medpref.errors import ModelError, RecipeError
from medpref.models.chat import ChatRequest, Usage, ask_one
from medpref.models.chat_cache import CachedChat
from medpref.models.chat_form import ask_again, read_form, schema_of
from medpref.models.chat_local import Local, load_writer
from medpref.models.chat_replay import Replay
from medpref.models.chat_rules import Rules
from medpref.models.chat_service import Service
from medpref.models.chat_spec import bind, parse_chat
from medpref.schema import Frozen


class Score(Frozen):
    """A score."""

    title: str
    score: float = Field(ge=0, le=1)


class Nested(Frozen):
    parts: tuple[Score, ...]


def test_a_schema_demands_every_key_and_keeps_fields_named_like_keywords() -> None:
    schema = schema_of(Score)
    assert schema["required"] == ["title", "score"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {"title": {"type": "string"}, "score": {"type": "number"}}
    inner = schema_of(Nested)["$defs"]["Score"]
    assert set(inner["properties"]) == {"title", "score"}
    assert inner["additionalProperties"] is False


GOOD = '{"title": "a {b} \\"c\\"", "score": 1}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here it is: {GOOD}. I hope that helps.",
        f'<think>maybe {{"title": "x", "score": 0}}</think>\n{GOOD}',
        f"A set {{1, 2}} and then {GOOD}",
    ],
)
def test_one_object_is_found_whatever_stands_around_it(text: str) -> None:
    assert read_form(text, Score) == (Score(title='a {b} "c"', score=1.0), "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object in the answer"),
        ("[1]", "no JSON object in the answer"),
        ("{" * 3000, "no JSON object in the answer"),
        ('{"title": "a", "score": 1.5}', "score: Input should be less than or equal to 1"),
        ('{"title": "a", "score": NaN}', "not the asked form"),
        ('{"title": "a", "score": true}', "score: Input should be a valid number"),
        ('{"title": 1, "score": 1}', "title: Input should be a valid string"),
        (f"{GOOD} {GOOD}", "2 JSON objects"),
    ],
)
def test_what_is_no_answer_in_the_form_says_why(text: str, reason: str) -> None:
    value, told = read_form(text, Score)
    assert value is None
    assert reason in told


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.floats(0, 1), st.text(alphabet="abc .:\n`", max_size=20))
def test_every_answer_written_as_json_is_read_back(title: str, score: float, around: str) -> None:
    made = Score(title=title, score=score)
    assert read_form(around + made.model_dump_json() + around, Score) == (made, "")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_no_text_makes_reading_fail(text: str) -> None:
    value, reason = read_form(text, Score)
    assert (value is None) == bool(reason)


def test_asked_again_it_sees_the_question_its_answer_and_why_not() -> None:
    first = [{"role": "user", "content": "q"}]
    second = ask_again(first, "one", "no {JSON}")
    third = ask_again(second, "two", "still none")
    assert [message["content"] for message in second[:2]] == ["q", "one"]
    assert "no {JSON}" in second[2]["content"]
    assert [message["content"] for message in third[:2]] == ["q", "two"]


def test_rules_answer_by_the_rule_of_each_question() -> None:
    asked = [
        ChatRequest("q", Score, rule=lambda: Score(title="t", score=0.5)),
        ChatRequest("q", Score, rule=lambda: None),
    ]
    answers = list(Rules().ask([*asked, ChatRequest("q", Score)]))
    assert answers[0].value == Score(title="t", score=0.5)
    assert [answer.reason for answer in answers[1:]] == ["the rules have no answer"] * 2


def test_specs_name_back_ends_and_settings() -> None:
    made = parse_chat("openai:http://localhost:8000/v1/#org/model", ["concurrency=3", "extra.top_k=1"], mine=True)
    assert made == Service(
        url="http://localhost:8000/v1", model="org/model", mine=True, concurrency=3, extra={"top_k": 1}
    )
    assert parse_chat("local:some/model", ["batch=2"]) == Local(model="some/model", batch=2)
    assert parse_chat("replay:a/b.jsonl#m") == Replay(file="a/b.jsonl", model="m")
    assert parse_chat("rules") == Rules()


@pytest.mark.parametrize(
    ("spec", "settings", "said"),
    [
        ("opanai:http://x/v1#m", [], "did you mean 'openai'"),
        ("openai:http://x/v1", [], "write openai:URL#MODEL"),
        ("openai:x/v1#m", [], "url"),
        ("openai:", [], "openai:URL#MODEL"),
        ("local:", [], "local:MODEL"),
        ("rules:x", [], "rules"),
        ("openai:http://x/v1#m", ["concurency=3"], "did you mean 'concurrency'"),
        ("openai:http://x/v1#m", ["concurrency=0"], "greater than or equal to 1"),
        ("local:m", ["price_in=1"], "unknown key 'price_in'"),
    ],
)
def test_a_spec_that_cannot_be_meant_says_what_to_write(spec: str, settings: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parse_chat(spec, settings)


def test_settings_that_change_answers_change_the_name_they_are_filed_under() -> None:
    plain = parse_chat("openai:http://x/v1#m")
    assert plain.identity == "openai:http://x/v1#m"
    assert parse_chat("openai:http://x/v1#m", ["concurrency=2", "timeout_s=5"]).identity == plain.identity
    for one in ("structured=none", "extra.seed=1", "omit=[temperature]"):
        assert parse_chat("openai:http://x/v1#m", [one]).identity != plain.identity


def test_what_costs_stands_before_kept_answers(tmp_path: Path) -> None:
    chats = bind(["rules", "openai:http://localhost:1/v1#m", "local:m"], tmp_path)
    assert [isinstance(chat, CachedChat) for chat in chats] == [False, True, True]
    assert chats[1].answers is chats[2].answers


CHAINS = {  # the last word of a prompt decides what a chain of single tokens says after it
    "alpha": ['{"title":', '"A",', '"score":', "0.25}"],
    "beta": ['{"title": "B"', ',"score": 1}'],
    "gamma": ["I", "cannot"],
}


@pytest.fixture(scope="module")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model without attention to speak of: each token is followed by the next one of its chain."""
    folder = tmp_path_factory.mktemp("parrot")
    words = ["<pad>", "</s>", "?", "one", "two", "three", *CHAINS, *(t for chain in CHAINS.values() for t in chain)]
    follow = {word: "</s>" for word in words}
    for start, chain in CHAINS.items():
        follow |= dict(zip([start, *chain], [*chain, "</s>"], strict=True))
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="?")
    fast.chat_template = "{% for m in messages %}{{ m['content'] + ' ' }}{% endfor %}"
    size = len(words)
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        eos_token_id=1, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    assert size <= 32
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.model.layers.parameters():
            parameter.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size, 32))
        model.lm_head.weight.zero_()
        for word, after in follow.items():
            model.lm_head.weight[words.index(after), words.index(word)] = 10.0
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def test_a_local_model_answers_in_batches_of_unlike_length(parrot: Path) -> None:
    chat = Local(model=str(parrot), batch=2, repeats=1)
    prompts = ["one two three one alpha", "beta", "one gamma", "two two alpha", "three beta"]
    kept: list = []
    answers = sorted(chat.ask([ChatRequest(p, Score, max_tokens=8) for p in prompts], keep=kept.append))
    values = [answer.value for answer in answers]
    assert values == [Score(title="A", score=0.25), Score(title="B", score=1), None, Score(title="A", score=0.25),
                      Score(title="B", score=1)]  # fmt: skip
    assert answers[2].reason == "not answered in 2 attempts: no JSON object in the answer"
    assert answers[1].text == '{"title": "B" ,"score": 1}'
    assert answers[1].usage == Usage(1, 3, None, 1)
    assert answers[2].usage.tries == 2
    assert sorted(kept) == answers
    alone = [ask_one(chat, ChatRequest(prompt, Score, max_tokens=8)).value for prompt in prompts]
    assert alone == values


def test_a_local_answer_is_filed_under_the_weights(parrot: Path, tmp_path: Path) -> None:
    (chat,) = bind([f"local:{parrot}"], tmp_path)
    assert ask_one(chat, ChatRequest("alpha", Score, max_tokens=8)).value == Score(title="A", score=0.25)
    (again,) = bind([f"local:{parrot}"], tmp_path)
    ask_one(again, ChatRequest("alpha", Score, max_tokens=8))
    assert (chat.tally.asked, again.tally.asked) == (1, 0)
    before = chat.identity
    config = json.loads((parrot / "config.json").read_text())
    (parrot / "config.json").write_text(json.dumps({**config, "note": 1}))
    assert Local(model=str(parrot)).identity != before
    (parrot / "config.json").write_text(json.dumps(config))


def test_a_local_answer_may_be_kept_short(parrot: Path) -> None:
    short = Local(model=str(parrot), repeats=0, max_tokens=2)
    answer = ask_one(short, ChatRequest("alpha", Score))
    assert (answer.value, answer.usage.tokens_out) == (None, 2)
    assert short.identity != Local(model=str(parrot)).identity


def test_a_drawn_local_answer_depends_on_its_question_alone(parrot: Path) -> None:
    chat = Local(model=str(parrot), repeats=0)
    drawn = [ChatRequest("alpha", Score, temperature=40.0, max_tokens=6, draw=n) for n in range(6)]
    together = {a.place: a.text for a in chat.ask(drawn)}
    alone = [ask_one(chat, request).text for request in drawn]
    assert [together[place] for place in range(6)] == alone
    assert len(set(alone)) > 1


def test_a_local_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a causal language model"):
        load_writer(str(tmp_path), "auto", "cpu")


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "openai")),
    reason="`transformers serve` needs fastapi and uvicorn, the client openai",
)
def test_against_transformers_serve(parrot: Path, tmp_path: Path) -> None:
    """The same model answers alike behind a real OpenAI-compatible server (without structured output)."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(parrot), "--host", "127.0.0.1",
               "--port", str(port), "--device", "cpu"]  # fmt: skip
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, tmp_path / "log")
        url = f"http://127.0.0.1:{port}/v1"
        chat = Service(url=url, model=str(parrot), structured="none", concurrency=2, repeats=0, tries=2, timeout_s=60)
        asked = [ChatRequest(prompt, Score, max_tokens=8) for prompt in ("one alpha", "beta", "gamma")]
        answers = sorted(chat.ask(asked))
    finally:
        process.terminate()
        process.wait(timeout=20)
    assert [answer.value for answer in answers] == [Score(title="A", score=0.25), Score(title="B", score=1), None]
    assert answers[0].usage.tokens_out > 0


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the server did not come up: {log.read_text()[-2000:]}")
