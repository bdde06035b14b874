"""Nothing is asked twice: across calls, threads, runs, and a kill; nothing lost, nothing doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.errors import ArtifactError, ModelError
from medpref.models.chat import ChatAnswer, ChatRequest, Usage, ask_one
from medpref.models.chat_cache import AheadChat, CachedChat, NotYet
from medpref.models.chat_replay import Replay
from medpref.models.chat_service import Service
from medpref.models.chat_store import AnswerStore, read_answers
from medpref.schema import Frozen

from .fake_service import Says, serving


class Echo(Frozen):
    said: str


class Other(Frozen):
    said: str
    more: int


class Counting:
    """Answers with the prompt itself, or fails: ``broken`` prompts are an outage, ``mute`` ones never answered."""

    def __init__(self, name: str = "counting", *, wait_s: float = 0.0) -> None:
        self.identity, self.outside, self.wait_s = name, False, wait_s
        self.asked: Counter[str] = Counter()
        self.broken: set[str] = set()
        self.mute: set[str] = set()
        self.fatal: set[str] = set()

    def ask(self, requests: Sequence[ChatRequest], keep=None) -> Iterator[ChatAnswer]:
        for place, request in enumerate(requests):
            time.sleep(self.wait_s)
            self.asked[request.prompt] += 1
            if request.prompt in self.fatal:
                raise ModelError("counting", given="gone", expected="an answer", todo="wait")
            failed = request.prompt in self.broken | self.mute
            value = None if failed else Echo(said=request.prompt)
            lasting = request.prompt not in self.broken
            answer = ChatAnswer(place, value, "why" * failed, "text", self.identity, Usage(1, 2, 0.5, 1), lasting)
            if keep is not None:
                keep(answer)
            yield answer


def echo(prompt: str, **fields) -> ChatRequest:
    return ChatRequest(prompt, Echo, **fields)


def cached(folder: Path, chat=None) -> CachedChat:
    return CachedChat(chat or Counting(), AnswerStore(folder))


def said(answers) -> list[str]:
    return [answer.value.said if answer.value else None for answer in answers]


def test_an_equal_question_is_asked_once_and_answers_come_in_order(tmp_path: Path) -> None:
    chat = cached(tmp_path)
    answers = list(chat.ask([echo("b"), echo("a"), echo("b")]))
    assert said(answers) == ["b", "a", "b"]
    assert [answer.place for answer in answers] == [0, 1, 2]
    assert chat.chat.asked == {"a": 1, "b": 1}
    again = cached(tmp_path)
    assert said(again.ask([echo("a"), echo("c")])) == ["a", "c"]
    assert again.chat.asked == {"c": 1}
    assert (again.tally.asked, again.tally.from_cache) == (1, 1)
    assert again.tally.usage == Usage(1, 2, 0.5, 1)


def test_prompt_form_decoding_and_model_each_make_another_question(tmp_path: Path) -> None:
    keys = {
        CachedChat(Counting(model), AnswerStore(tmp_path)).key(request)
        for model in ("m", "n")
        for request in (
            echo("a"), echo("b"), echo("a", temperature=0.5), echo("a", max_tokens=9), echo("a", draw=1),
            ChatRequest("a", Other),
        )
    }  # fmt: skip
    assert len(keys) == 12
    assert echo("a", rule=lambda: None, credentialed=True).key == echo("a").key


def test_no_answer_of_the_model_is_kept_an_outage_is_not(tmp_path: Path) -> None:
    back = Counting()
    back.mute, back.broken = {"mute"}, {"broken"}
    chat = cached(tmp_path, back)
    for _ in range(2):
        answers = list(chat.ask([echo("mute"), echo("broken")]))
        assert [answer.reason for answer in answers] == ["why", "why"]
    assert back.asked == {"mute": 1, "broken": 1}
    assert chat.tally.unanswered == 2
    later = cached(tmp_path)
    assert said(later.ask([echo("mute"), echo("broken")])) == [None, "broken"]
    assert later.chat.asked == {"broken": 1}


def test_what_came_before_a_failure_is_kept(tmp_path: Path) -> None:
    back = Counting()
    back.fatal = {"b"}
    with pytest.raises(ModelError):
        list(cached(tmp_path, back).ask([echo("a"), echo("b"), echo("c")]))
    again = cached(tmp_path)
    assert said(again.ask([echo("a"), echo("b"), echo("c")])) == ["a", "b", "c"]
    assert again.chat.asked == {"b": 1, "c": 1}


def test_threads_that_ask_the_same_share_one_call(tmp_path: Path) -> None:
    chat = cached(tmp_path, Counting(wait_s=0.005))
    results: list[list[str]] = []
    work = [
        threading.Thread(target=lambda: results.append(said(chat.ask([echo(str(n)) for n in range(20)]))))
        for _ in range(8)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert results == [[str(n) for n in range(20)]] * 8
    assert set(chat.chat.asked.values()) == {1}
    assert len(AnswerStore(tmp_path)) == 20


def test_who_waits_for_a_thread_that_failed_is_told(tmp_path: Path) -> None:
    back = Counting(wait_s=0.2)
    back.fatal = {"b"}
    chat, errors = cached(tmp_path, back), []

    def work() -> None:
        try:
            list(chat.ask([echo("a"), echo("b")]))
        except ModelError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(errors) == 2
    assert back.asked["a"] == 1


def test_two_runs_at_a_time_write_files_of_their_own(tmp_path: Path) -> None:
    one, two = cached(tmp_path), cached(tmp_path)
    list(one.ask([echo("a")]))
    list(two.ask([echo("b")]))
    list(one.ask([echo("c")]))
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["answers-0001.jsonl", "answers-0002.jsonl"]
    assert len(AnswerStore(tmp_path)) == 3
    assert (tmp_path / files[0]).stat().st_mode & 0o077 == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.booleans())
def test_a_torn_file_loses_its_last_line_alone(tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bool) -> None:
    folder = tmp_path_factory.mktemp("torn")
    chat = cached(folder)
    list(chat.ask([echo(f"é{n}\n{n}") for n in range(5)]))
    chat.answers.close()
    path = folder / "answers-0001.jsonl"
    whole = path.read_bytes()
    left = whole[: max(0, len(whole) - cut)]
    path.write_bytes(left + (b"\xff{" if noise else b""))
    assert len(list(read_answers(path))) in (left.count(b"\n"), left.count(b"\n") + (not noise and left.endswith(b"}")))


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("")
    with pytest.raises(ArtifactError, match="a folder of answers"):
        AnswerStore(path).get("k")


def test_asked_ahead_it_stops_the_work_notes_the_question_and_answers_later(tmp_path: Path) -> None:
    chat = cached(tmp_path)
    ahead = AheadChat(chat)
    with pytest.raises(NotYet):
        ask_one(ahead, echo("a"))
    assert not chat.chat.asked
    ahead.fetch()
    assert ask_one(ahead, echo("a")).value == Echo(said="a")
    assert ahead.wanted == []
    assert not isinstance(NotYet(), Exception)


def test_replay_answers_what_was_answered_without_a_model(tmp_path: Path) -> None:
    back = Counting("openai:http://h/v1#m")
    back.mute = {"mute"}
    list(cached(tmp_path, back).ask([echo("a"), echo("mute")]))
    for file in (tmp_path, tmp_path / "answers-0001.jsonl"):
        replay = Replay(file=str(file))
        answers = list(replay.ask([echo("mute"), echo("a"), echo("never asked")]))
        assert said(answers) == [None, "a", None]
        assert answers[0].reason == "why"
        assert answers[1].model == "openai:http://h/v1#m"
        assert answers[2].reason.startswith("no answer to this question in replay:")
        assert not answers[2].lasting


def test_replay_of_several_models_must_be_told_which(tmp_path: Path) -> None:
    for name in ("openai:http://h/v1#m", "local:some/model~12345678"):
        list(cached(tmp_path, Counting(name)).ask([echo("a")]))
    with pytest.raises(ModelError, match="those of one model"):
        ask_one(Replay(file=str(tmp_path)), echo("a"))
    for name in ("m", "openai:http://h/v1#m", "some/model"):
        assert ask_one(Replay(file=str(tmp_path), model=name), echo("a")).value == Echo(said="a")
    with pytest.raises(ModelError, match="no answers of q"):
        ask_one(Replay(file=str(tmp_path), model="q"), echo("a"))
    with pytest.raises(ModelError, match="check the path"):
        ask_one(Replay(file=str(tmp_path / "gone")), echo("a"))


def unruly(prompt: str, number: int, body: dict) -> Says:
    """Every seventh question fails on its first call, in turns by each way; every thirteenth is never answered."""
    place = int(prompt.split()[-1])
    if place % 13 == 5:
        return Says(content="I would rather not.")
    ways = (Says(status=429), Says(status=500), Says(cut="before"), Says(cut="within"), Says(content="?"))
    if place % 7 == 3 and number == 0:
        return ways[place // 7 % len(ways)]
    return Says(content=json.dumps({"said": f"answer {place}"}))


def flood(folder: Path, count: int) -> None:
    """``count`` questions at 32 at a time: every answer is there once, under its own question; again costs nothing."""
    with serving(unruly) as server:
        chat = cached(folder, Service(url=server.url, model="m", concurrency=32, backoff_s=0.001, repeats=1))
        answers = list(chat.ask([echo(f"question {place}") for place in range(count)]))
        assert len(answers) == count
        assert all(answers[place].place == place for place in range(count))
        expected = [None if place % 13 == 5 else f"answer {place}" for place in range(count)]
        assert said(answers) == expected
        calls = {place: server.calls[f"question {place}"] for place in range(count)}
        assert all(calls[n] == (2 if n % 13 == 5 or n % 7 == 3 else 1) for n in range(count))
        assert server.most <= 32
        files = sorted(folder.glob("*.jsonl"))
        rows = [key for path in files for key, _ in read_answers(path)]
        assert len(rows) == len(set(rows)) == count
        total = sum(server.calls.values())
        again = cached(folder, chat.chat)
        assert said(again.ask([echo(f"question {place}") for place in range(count)])) == expected
        assert sum(server.calls.values()) == total
        assert again.tally.asked == 0


def test_five_hundred_calls_at_32_lose_and_double_nothing(tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="the extra 'judge' (openai) is not installed")
    flood(tmp_path, 500)


@pytest.mark.slow
def test_ten_thousand_calls_at_32_lose_and_double_nothing(tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="the extra 'judge' (openai) is not installed")
    flood(tmp_path, 10_000)


WORK = """
import sys
from pathlib import Path
from tests.models.test_chat_cache import cached, echo
from medpref.models.chat_service import Service
chat = cached(Path(sys.argv[2]), Service(url=sys.argv[1], model="m", concurrency=8))
answers = list(chat.ask([echo(f"question {n}") for n in range(200)]))
print(sum(answer.value is not None for answer in answers), chat.tally.asked)
"""


def test_killed_midway_and_resumed_no_paid_call_is_repeated(tmp_path: Path) -> None:
    """A call whose answer was filed before the kill is never made again; at most the 8 under way are."""
    pytest.importorskip("openai", reason="the extra 'judge' (openai) is not installed")
    killed = threading.Event()

    def script(prompt: str, number: int, body: object) -> Says:
        if sum(server.calls.values()) > 100:  # the rest is not answered before the kill, however slow this machine is
            killed.wait(60)
        return Says(content=json.dumps({"said": prompt}), wait_s=0.02)

    with serving(script) as server:
        command = [sys.executable, "-c", WORK, server.url, str(tmp_path)]
        root = Path(__file__).resolve().parents[2]
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while sum(server.served.values()) < 60 and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed.set()
        server.settle()
        filed = {entry["text"] for path in tmp_path.glob("*.jsonl") for _, entry in read_answers(path)}
        paid = Counter(server.served)
        assert 40 <= len(filed) < 200
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["200", str(200 - len(filed))]
        repeated = {prompt for prompt, times in server.calls.items() if times > 1}
        assert not repeated & {json.loads(text)["said"] for text in filed}
        assert len(repeated) <= 8
        assert len(set(paid) - {json.loads(text)["said"] for text in filed}) <= 8
        total = sum(server.calls.values())
        third = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        assert third.stdout.split() == ["200", "0"]
        assert sum(server.calls.values()) == total
