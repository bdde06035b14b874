"""The service back end against a real server process on loopback that misbehaves in every way we know of."""

from __future__ import annotations

import email.utils
import json
import threading
from pathlib import Path

import pytest

openai = pytest.importorskip("openai", reason="the extra 'judge' (openai) is not installed")

from medpref.errors import ModelError, RecipeError  # noqa: E402
from medpref.models.chat import ChatAnswer, ChatRequest, ask_one  # noqa: E402
from medpref.models.chat_retry import asked_wait_s, backoff_s  # noqa: E402
from medpref.models.chat_service import Service  # noqa: E402
from medpref.schema import Frozen  # noqa: E402

from .fake_service import FakeService, Says, always, first, serving  # noqa: E402


class Opinion(Frozen):
    word: str
    score: float


def service(server: FakeService, **fields) -> Service:
    return Service(**{"url": server.url, "model": "m", "backoff_s": 0.001, "timeout_s": 5, "concurrency": 4, **fields})


def question(prompt: str = "Is it?", **fields) -> ChatRequest:
    return ChatRequest(prompt, Opinion, **fields)


def ask(server: FakeService, prompt: str = "Is it?", **fields) -> ChatAnswer:
    return ask_one(service(server, **fields), question(prompt))


def test_a_call_says_prompt_form_and_decoding_and_is_answered_in_the_form() -> None:
    with serving(always()) as server:
        answer = ask(server, "How large is {it}?")
    assert answer.value == Opinion(word="yes", score=0.5)
    assert (answer.reason, answer.lasting) == ("", True)
    (body,) = server.bodies
    assert body["model"] == "m"
    assert body["temperature"] == 0
    assert body["messages"] == [{"role": "user", "content": "How large is {it}?"}]
    told = body["response_format"]["json_schema"]
    assert told["strict"] is True
    assert told["schema"]["required"] == ["word", "score"]
    assert told["schema"]["additionalProperties"] is False
    assert "title" not in json.dumps(told["schema"])
    assert answer.usage.tokens_in == 4
    assert answer.usage.tokens_out == 7
    assert answer.usage.cost_usd is None
    assert answer.usage.tries == 1


@pytest.mark.parametrize(
    ("bad", "tries"),
    [
        (Says(status=429), 2),
        (Says(status=429, headers={"Retry-After": "0"}), 2),
        (Says(status=500), 2),
        (Says(status=503), 2),
        (Says(status=408), 2),
        (Says(cut="before"), 2),
        (Says(cut="within"), 2),
        (Says(raw=b"<html>gateway</html>"), 2),
        (Says(raw=b'{"choices": []}'), 2),
    ],
    ids=lambda value: f"{value.status} {value.cut} {value.raw}" if isinstance(value, Says) else "",
)
def test_a_call_that_fails_on_the_way_is_made_again(bad: Says, tries: int) -> None:
    with serving(first(bad)) as server:
        answer = ask(server)
    assert answer.value == Opinion(word="yes", score=0.5)
    assert answer.usage.tries == tries
    assert server.calls["Is it?"] == tries


def test_a_slow_answer_times_out_and_is_asked_for_again() -> None:
    with serving(first(Says(wait_s=0.6))) as server:
        answer = ask(server, timeout_s=0.2)
    assert answer.value is not None
    assert server.calls["Is it?"] == 2


def test_retry_after_is_kept_by_everybody() -> None:
    """One question is put off by 0.4 s; the other worker, done after 0.1 s, begins nothing new before that."""

    def script(prompt: str, number: int, body: dict) -> Says:
        late = Says(status=429, headers={"Retry-After": "0.4"})
        return late if prompt == "0" and number == 0 else Says(wait_s=0.1)

    with serving(script) as server:
        answers = list(service(server, concurrency=2).ask([question(str(place)) for place in range(3)]))
    assert all(answer.value for answer in answers)
    begun = {body["messages"][0]["content"]: time for body, time in zip(server.bodies, server.times, strict=True)}
    assert begun["2"] - server.times[0] >= 0.4
    assert begun["0"] - server.times[0] >= 0.4


def test_being_put_off_by_the_service_is_no_failure() -> None:
    """Ten 429 with Retry-After, at most two failed tries allowed."""
    with serving(first(*[Says(status=429, headers={"Retry-After": "0.001"})] * 10)) as server:
        assert ask(server, tries=2).value is not None
    with serving(first(*[Says(status=429)] * 10)) as server:
        assert ask(server, tries=2).reason == "not answered: 429 status 429"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Says(content="I think yes."), "no JSON object in the answer"),
        (Says(content='{"word": "yes"'), "no JSON object in the answer"),
        (Says(content='{"word": "yes"', finish="length"), "cut off after 1024 tokens"),
        (Says(content='{"word": "a", "score": 1} {"word": "b", "score": 1}'), "2 JSON objects in the answer"),
        (Says(content='{"word": "yes"}'), "score: Field required"),
        (Says(content='{"word": "yes", "score": "high"}'), "score: Input should be a valid number"),
        (Says(content='{"word": "yes", "score": "0.5"}'), "score: Input should be a valid number"),
        (Says(content='{"word": "yes", "score": 1, "more": 1}'), "more: Extra inputs are not permitted"),
        (Says(content=None), "no JSON object in the answer"),
        (Says(content=None, refusal="I will not"), "refused: I will not"),
        (Says(content="", finish="content_filter"), "refused: content filter"),
    ],
)
def test_an_answer_out_of_form_is_asked_for_again_and_then_not_answered(bad: Says, reason: str) -> None:
    with serving(first(bad)) as server:
        assert ask(server).value == Opinion(word="yes", score=0.5)
        assert server.calls["Is it?"] == 2
    with serving(lambda prompt, number, body: bad) as server:
        answer = ask(server, repeats=2)
    assert answer.value is None
    assert answer.lasting
    assert answer.reason.startswith("not answered in 3 attempts: ")
    assert reason in answer.reason
    assert server.calls["Is it?"] == 3
    assert answer.usage.tries == 3
    assert answer.usage.tokens_out == 21


def test_the_model_is_told_what_was_wrong_but_not_argued_with() -> None:
    with serving(first(Says(content="Well."))) as server:
        ask(server)
    roles = [message["role"] for message in server.bodies[1]["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert server.bodies[1]["messages"][1]["content"] == "Well."
    assert "no JSON object" in server.bodies[1]["messages"][2]["content"]
    with serving(first(Says(content=None, refusal="no"))) as server:
        ask(server)
    assert len(server.bodies[1]["messages"]) == 1


@pytest.mark.parametrize(
    ("says", "todo"),
    [
        (Says(status=401), "set the key"),
        (Says(status=403), "check the key's rights"),
        (Says(status=404), "check the address and the model's name"),
        (Says(status=402), "see to the account"),
        (Says(status=429, error={"code": "insufficient_quota"}), "see to the account"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Says) else "",
)
def test_what_no_retry_can_mend_ends_the_work_at_once(says: Says, todo: str) -> None:
    with serving(lambda prompt, number, body: says) as server, pytest.raises(ModelError, match=todo):
        list(service(server, concurrency=1).ask([question(str(n)) for n in range(50)]))
    assert sum(server.calls.values()) <= 2


def test_one_question_that_the_service_fails_on_costs_no_other() -> None:
    script = lambda prompt, number, body: Says(status=500 if prompt == "poison" else 200)  # noqa: E731
    with serving(script) as server:
        answers = {a.place: a for a in service(server, tries=2).ask([question(p) for p in ("a", "poison", "b")])}
    assert [answers[place].value is None for place in range(3)] == [False, True, False]
    assert answers[1].reason == "not answered: 500 status 500"
    assert not answers[1].lasting
    assert server.calls["poison"] == 2


def test_a_service_that_is_down_ends_the_work() -> None:
    with serving(always(status=500)) as server:
        server.alive = False
        with pytest.raises(ModelError, match="what was answered is kept"):
            ask(server, tries=2)
    with serving(always()) as server:
        url = server.url
    with pytest.raises(ModelError, match="what was answered is kept"):
        ask_one(Service(url=url, model="m", tries=2, backoff_s=0.001), question())


def test_a_service_that_fails_on_everything_is_given_up_after_eight() -> None:
    with serving(always(status=500)) as server, pytest.raises(ModelError, match="500 status 500"):
        list(service(server, tries=1, concurrency=1).ask([question(str(n)) for n in range(50)]))
    assert 8 <= sum(server.calls.values()) <= 9


def test_a_rejected_call_is_not_repeated_and_many_in_a_row_say_what_may_help() -> None:
    with serving(always(status=400)) as server:
        answer = ask(server)
        assert answer.reason == "not answered: 400 status 400"
        assert not answer.lasting
        assert server.calls["Is it?"] == 1
        with pytest.raises(ModelError, match=r"judge\.structured=none"):
            list(service(server, concurrency=1).ask([question(str(n)) for n in range(50)]))


def test_what_was_answered_is_kept_though_the_service_ends_the_work() -> None:
    kept: list[ChatAnswer] = []
    script = lambda prompt, number, body: Says(status=401) if prompt == "bad" else Says(wait_s=0.2)  # noqa: E731
    asked = [question(prompt) for prompt in ("a", "b", "c", "bad", *map(str, range(30)))]
    with serving(script) as server, pytest.raises(ModelError):
        list(service(server, concurrency=4).ask(asked, keep=kept.append))
    assert sorted(answer.place for answer in kept) == [0, 1, 2]
    assert sum(server.served.values()) == 3


def test_concurrency_is_used_and_bounded() -> None:
    with serving(always(wait_s=0.05)) as server:
        chat = service(server, concurrency=5)
        answers = list(chat.ask([question(str(n)) for n in range(40)]))
    assert sorted(answer.place for answer in answers) == list(range(40))
    assert 2 <= server.most <= 5


def test_settings_reach_the_call() -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "max_completion_tokens": 9}
    with serving(always()) as server:
        ask(server, structured="none", omit=("max_tokens", "temperature"), extra=extra)
        ask(server, structured="json_object")
    assert not {"response_format", "max_tokens", "temperature"} & set(server.bodies[0])
    assert server.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert server.bodies[0]["max_completion_tokens"] == 9
    assert server.bodies[1]["response_format"] == {"type": "json_object"}


def test_cost_by_price_and_as_the_service_says() -> None:
    with serving(always()) as server:
        # 2 words in, 7 tokens out: 2 * 3 + 7 * 10 = 76 millionths
        assert ask(server, price_in=3.0, price_out=10.0).usage.cost_usd == pytest.approx(76e-6)
    choice = {"message": {"content": '{"word": "a", "score": 1}'}, "finish_reason": "stop"}
    raw = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.25}})
    with serving(always(raw=raw.encode())) as server:
        assert ask(server, price_in=3.0, price_out=10.0).usage.cost_usd == 0.25


def test_keys_tell_a_gateway_what_is_the_same_call() -> None:
    """Equal for a call made again, another for another attempt, question or model."""
    with serving(first(Says(status=500), Says(content="no"))) as server:
        ask(server)
        ask_one(service(server, model="other"), question())
        keys = [headers["idempotency-key"] for headers in server.headers]
    assert keys[0] == keys[1]
    assert len({keys[1], keys[2], keys[3]}) == 3


def test_the_key_is_of_the_environment_and_in_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    with serving(always()) as server:
        chat = service(server, key_variable="MY_KEY")
        answer = ask_one(chat, question())
    assert server.headers[0]["authorization"] == "Bearer secret-1"
    assert "secret-1" not in repr(answer) + chat.identity + chat.model_dump_json()


def test_no_proxy_and_no_redirect_leads_away_from_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always()) as elsewhere, serving(always()) as server:
        monkeypatch.setenv("HTTP_PROXY", elsewhere.url.removesuffix("/v1"))
        monkeypatch.setenv("http_proxy", elsewhere.url.removesuffix("/v1"))
        assert ask(server).value is not None
        assert not elsewhere.calls
        server.script = always(status=307, headers={"Location": f"{elsewhere.url}/chat/completions"})
        assert "307" in ask(server, "another").reason
        assert not elsewhere.calls


def test_credentialed_text_goes_to_no_outside_service() -> None:
    outside = Service(url="https://judge.example.org/v1", model="m")
    with pytest.raises(RecipeError, match="credentialed data and an outside service"):
        ask_one(outside, question(credentialed=True))
    with serving(always()) as server:
        assert ask_one(service(server), question(credentialed=True)).value is not None
    assert Service(url="https://judge.example.org/v1", model="m", mine=True).outside is False
    assert outside.outside
    assert not Service(url="http://localhost:8000/v1", model="m").outside


def test_nothing_asked_calls_nothing() -> None:
    assert list(Service(url="http://127.0.0.1:9/v1", model="m").ask([])) == []


def test_an_interrupt_lets_calls_under_way_finish(tmp_path: Path) -> None:
    kept: list[ChatAnswer] = []
    with serving(always(wait_s=0.1)) as server:
        coming = service(server, concurrency=2).ask([question(str(n)) for n in range(40)], keep=kept.append)
        next(coming)
        coming.close()
        server.settle()
        assert sum(server.served.values()) == len(kept) <= 6
    assert threading.active_count() < 20


def test_retry_after_in_seconds_milliseconds_or_as_a_date() -> None:
    now = 1_700_000_000.0
    date = email.utils.formatdate(now + 30, usegmt=True)
    assert asked_wait_s({"retry-after": "2.5"}, now=now) == 2.5
    assert asked_wait_s({"retry-after-ms": "250", "retry-after": "9"}, now=now) == 0.25
    assert asked_wait_s({"retry-after": date}, now=now) == pytest.approx(30)
    assert asked_wait_s({"retry-after": "100000"}, now=now) == 120
    assert asked_wait_s({"retry-after": "-3"}, now=now) == 0
    assert asked_wait_s({"retry-after": "soon"}, now=now) is None
    assert asked_wait_s({"retry-after": "inf"}, now=now) is None
    assert asked_wait_s({}, now=now) is None


def test_back_off_doubles_within_bounds_and_is_drawn_by_name() -> None:
    waits = [backoff_s(0.5, attempt, "q") for attempt in range(12)]
    assert all(
        0.5 * full <= wait <= full for wait, full in zip(waits, [min(0.5 * 2**n, 60) for n in range(12)], strict=True)
    )
    assert waits == [backoff_s(0.5, attempt, "q") for attempt in range(12)]
    assert backoff_s(0.5, 3, "q") != backoff_s(0.5, 3, "other")
