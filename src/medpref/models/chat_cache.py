"""A chat that asks nothing twice: answers filed under model, prompt, form and decoding, across runs and after a kill.

Also the same chat asked *ahead* of the work: it answers what is known and collects what is not, so that many questions
that depend on each other only within one example go out together.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

from medpref import store
from medpref.errors import ModelError
from medpref.models.chat import Chat, ChatAnswer, ChatRequest, Keep, Usage
from medpref.models.chat_store import AnswerStore, Entry
from medpref.progress import track

QUIET = 8  # so many questions or fewer are asked without a progress bar


@dataclass
class Tally:
    """What a cached chat has done in this process: questions asked of the model, and what they took."""

    asked: int = 0
    from_cache: int = 0
    unanswered: int = 0
    usage: Usage = field(default_factory=Usage)


class CachedChat:
    """``chat`` behind a store of answers. Safe for threads: a question in flight is waited for, not asked again."""

    def __init__(self, chat: Chat, answers: AnswerStore) -> None:
        self.chat, self.answers, self.tally = chat, answers, Tally()
        self._lock = threading.Lock()
        self._flying: dict[str, Future[ChatAnswer]] = {}
        self._failed: dict[str, ChatAnswer] = {}
        self._seen: set[str] = set()

    @property
    def identity(self) -> str:
        return self.chat.identity

    @property
    def outside(self) -> bool:
        return self.chat.outside

    def key(self, request: ChatRequest) -> str:
        """What the answer is filed under."""
        return store.digest([self.identity, request.key])

    def peek(self, request: ChatRequest) -> ChatAnswer | None:
        """The answer where it is known (from any run, or an outage of this process), else None."""
        key = self.key(request)
        entry = self.answers.get(key)
        return _thaw(entry, request) if entry is not None else self._failed.get(key)

    def ask(self, requests: Sequence[ChatRequest], keep: Keep | None = None) -> Iterator[ChatAnswer]:
        """The answers in the order of the requests, once all are there. An equal question is asked once."""
        keys = [self.key(request) for request in requests]
        mine, others = self._claim(keys, requests)
        try:
            self._fetch([requests[place] for place in mine], [keys[place] for place in mine])
        finally:
            self._release([keys[place] for place in mine])
        for place, (key, request) in enumerate(zip(keys, requests, strict=True)):
            held = self.peek(request) if key not in others else self._wait(others[key])
            assert held is not None
            answer = held._replace(place=place)
            if keep is not None:
                keep(answer)
            yield answer

    def _claim(
        self, keys: Sequence[str], requests: Sequence[ChatRequest]
    ) -> tuple[list[int], dict[str, Future[ChatAnswer]]]:
        """The places that this call must ask, and the questions that another thread is asking."""
        mine: dict[str, int] = {}
        others: dict[str, Future[ChatAnswer]] = {}
        with self._lock:
            for place, (key, request) in enumerate(zip(keys, requests, strict=True)):
                if key in mine or key in others:
                    continue
                if key in self._flying:
                    others[key] = self._flying[key]
                elif self.peek(request) is None:
                    self._flying[key] = Future()
                    mine[key] = place
                elif key not in self._seen:
                    self.tally.from_cache += 1
                self._seen.add(key)
        return list(mine.values()), others

    def _fetch(self, requests: Sequence[ChatRequest], keys: Sequence[str]) -> None:
        if not requests:
            return

        def settle(answer: ChatAnswer) -> None:
            key = keys[answer.place]
            if answer.lasting:
                self.answers.put(key, _freeze(answer, requests[answer.place], self.identity))
            with self._lock:
                if not answer.lasting:
                    self._failed[key] = answer
                self.tally.asked += 1
                self.tally.unanswered += answer.value is None
                self.tally.usage = self.tally.usage.plus(answer.usage)
                self._flying[key].set_result(answer)

        coming = self.chat.ask(requests, keep=settle)
        shown = track(coming, f"asking {self.identity}", total=len(requests)) if len(requests) > QUIET else coming
        for _ in shown:
            pass

    def _wait(self, flying: Future[ChatAnswer]) -> ChatAnswer:
        try:
            return flying.result()
        except CancelledError:
            given, todo = "the thread that asked was stopped", "run it again; what was answered is kept"
            raise ModelError(self.identity, given=given, expected="an answer", todo=todo) from None

    def _release(self, keys: Sequence[str]) -> None:
        """Let go of the claims; who waits for one that was never answered is told."""
        with self._lock:
            for key in keys:
                self._flying.pop(key).cancel()


def _freeze(answer: ChatAnswer, request: ChatRequest, identity: str) -> Entry:
    return {
        "model": identity,
        "request": request.key,
        "prompt": store.digest(request.prompt.encode()),
        "value": None if answer.value is None else answer.value.model_dump(mode="json"),
        "reason": answer.reason,
        "text": answer.text,
        "usage": answer.usage._asdict(),
    }


def _thaw(entry: Entry, request: ChatRequest) -> ChatAnswer:
    value = entry["value"]
    read = None if value is None else request.form.model_validate_json(json.dumps(value), strict=True)
    return ChatAnswer(0, read, entry["reason"], entry["text"], entry["model"], Usage(**entry["usage"]))


class NotYet(BaseException):
    """Work stops here until an answer is there; like an interrupt it is no error, and no component may swallow it."""


@dataclass
class AheadChat:
    """A cached chat that asks nothing itself: what is not known is noted in ``wanted``, and the work stops (NotYet)."""

    cached: CachedChat
    wanted: list[ChatRequest] = field(default_factory=list)

    @property
    def identity(self) -> str:
        return self.cached.identity

    @property
    def outside(self) -> bool:
        return self.cached.outside

    def ask(self, requests: Sequence[ChatRequest], keep: Keep | None = None) -> Iterator[ChatAnswer]:
        known = [self.cached.peek(request) for request in requests]
        missing = [request for request, answer in zip(requests, known, strict=True) if answer is None]
        if missing:
            self.wanted += missing
            raise NotYet
        for place, answer in enumerate(known):
            assert answer is not None
            yield answer._replace(place=place)

    def fetch(self) -> None:
        """Ask all that was noted."""
        wanted, self.wanted = self.wanted, []
        for _ in self.cached.ask(wanted):
            pass
