"""One question to a service: the call, its retries on the way, and the second chances of an answer out of form."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import openai

from medpref import store
from medpref.errors import ModelError
from medpref.models.chat import ChatAnswer, ChatRequest, Keep, Usage
from medpref.models.chat_form import Message, ask_again, read_form, schema_of
from medpref.models.chat_retry import Gate, asked_wait_s, backoff_s

if TYPE_CHECKING:
    from medpref.models.chat_service import Service

PASSING = frozenset({408, 409, 425, 429})
HOPELESS = {
    401: "set the key in the environment",
    402: "see to the account",
    403: "check the key's rights",
    404: "check the address and the model's name",
}
UNREACHABLE = frozenset({502, 503, 504})
MOST_FAILURES = 8  # questions given up in a row before the service is
MOST_HELD = 50  # times that one question is put off at the service's own wish


class _Said(NamedTuple):
    text: str
    refusal: str
    cut: bool
    usage: Usage


class _GivenUp(Exception):
    """A question that the service did not take, or did not answer in so many tries."""

    def __init__(self, reason: str, *, tries: int, rejected: bool = False) -> None:
        self.reason, self.tries, self.rejected = reason, tries, rejected
        super().__init__(reason)


class _Passing(Exception):
    """A call that may go better another time, in ``wait_s`` seconds where the service says so."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        self.reason, self.wait_s = reason, wait_s
        super().__init__(reason)


@dataclass
class Caller:
    """Asks one service from many threads; gives the service up (ModelError) where it is not there for anybody."""

    service: Service
    client: Any
    keep: Keep | None
    gate: Gate = field(default_factory=Gate)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failures: int = 0

    def answer(self, place: int, request: ChatRequest) -> ChatAnswer:
        """The answer, kept before it is handed on."""
        try:
            answer = self._ask(place, request)
        except ModelError:
            self.gate.stopped.set()
            raise
        if self.keep is not None and (answer.lasting or not self.gate.stopped.is_set()):
            self.keep(answer)
        return answer

    def _ask(self, place: int, request: ChatRequest) -> ChatAnswer:
        messages: list[Message] = [{"role": "user", "content": request.prompt}]
        usage, reason, text = Usage(), "", ""
        who = self.service.identity
        for repeat in range(self.service.repeats + 1):
            try:
                said = self._call(messages, request, repeat)
            except _GivenUp as failure:
                self._count_failure(failure)
                reason = f"not answered: {failure.reason}"
                return ChatAnswer(place, None, reason, text, who, usage.plus(Usage(tries=failure.tries)), False)
            self._failures = 0
            usage, text = usage.plus(said.usage), said.text
            value, reason = (None, f"refused: {said.refusal}") if said.refusal else read_form(text, request.form)
            if value is not None:
                return ChatAnswer(place, value, "", text, who, usage)
            if not said.refusal:
                reason += f", cut off after {request.max_tokens} tokens" * said.cut
                messages = ask_again(messages, text, reason)
        return ChatAnswer(place, None, f"not answered in {repeat + 1} attempts: {reason}", text, who, usage)

    def _call(self, messages: list[Message], request: ChatRequest, repeat: int) -> _Said:
        """What the model said, tried again on the way as often as allowed.

        A call that the service asks to make later is not held against it, up to ``MOST_HELD`` times.
        """
        body = self._body(messages, request)
        name = store.digest([self.service.identity, request.key, repeat])
        reason, pause, failed, held = "", 0.0, 0, 0
        while failed < self.service.tries and held < MOST_HELD:
            if not self.gate.wait(pause):
                raise _GivenUp(reason or "stopped", tries=failed + held)
            pause = backoff_s(self.service.backoff_s, failed, name)
            try:
                return self._once(body, name, tries=failed + held + 1)
            except _Passing as passing:
                reason = passing.reason
                if passing.wait_s is None:
                    failed += 1
                else:
                    held += 1
                    self.gate.hold(passing.wait_s)
            except _GivenUp as rejected:
                raise _GivenUp(rejected.reason, tries=failed + held + 1, rejected=True) from None
        raise _GivenUp(reason, tries=failed + held)

    def _once(self, body: Mapping[str, Any], name: str, *, tries: int) -> _Said:
        headers = {"Idempotency-Key": f"medpref-{name}"}
        try:
            raw = self.client.chat.completions.with_raw_response.create(**body, extra_headers=headers)
            return _read(raw.http_response.content, self.service, tries=tries)
        except openai.APIStatusError as error:
            reason = _told(error)
            self._refuse_hopeless(error, reason)
            if error.status_code < 500 and error.status_code not in PASSING:
                raise _GivenUp(reason, tries=tries, rejected=True) from None
            raise _Passing(reason, asked_wait_s(error.response.headers, now=time.time())) from None
        except openai.APITimeoutError:
            raise _Passing(f"no answer within {self.service.timeout_s:g} s") from None
        except (openai.APIConnectionError, ValueError) as error:
            cause = error.__cause__ or error
            raise _Passing(f"{type(cause).__name__}: {cause}") from None

    def _body(self, messages: list[Message], request: ChatRequest) -> dict[str, Any]:
        schema = {"name": request.form.__name__, "strict": True, "schema": schema_of(request.form)}
        formats: dict[str, Any] = {
            "json_schema": {"response_format": {"type": "json_schema", "json_schema": schema}},
            "json_object": {"response_format": {"type": "json_object"}},
            "none": {},
        }
        body = {
            "model": self.service.model,
            "messages": messages,
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            **({"seed": request.draw} if request.draw else {}),
            **formats[self.service.structured],
        }
        return {**{k: v for k, v in body.items() if k not in self.service.omit}, "extra_body": dict(self.service.extra)}

    def _refuse_hopeless(self, error: openai.APIStatusError, reason: str) -> None:
        spent = error.status_code == 429 and error.code == "insufficient_quota"
        todo = HOPELESS[402] if spent else HOPELESS.get(error.status_code)
        if todo is not None:
            raise self._unusable(reason, todo)

    def _count_failure(self, failure: _GivenUp) -> None:
        """Give the service up after so many questions in a row, or where not even its list of models can be had."""
        if self.gate.stopped.is_set():
            return
        with self._lock:
            self._failures += 1
            many = self._failures >= MOST_FAILURES
        if many or not (failure.rejected or self._alive()):
            todo = "see to the service, then give the same command: what was answered is kept"
            if failure.rejected:
                todo = "if it takes no response_format: --set judge.structured=none"
            raise self._unusable(failure.reason, todo)

    def _alive(self) -> bool:
        """Whether the service answers a question that costs nothing."""
        try:
            self.client.models.with_raw_response.list()
        except openai.APIStatusError as error:
            return error.status_code not in UNREACHABLE
        except openai.APIConnectionError:
            return False
        return True

    def _unusable(self, given: str, todo: str) -> ModelError:
        return ModelError(self.service.identity, given=given, expected="a chat completion", todo=todo)


def _told(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, Mapping) else {}
    return f"{error.status_code} {str(body.get('message') or error.message)[:200]}"


def _read(content: bytes, service: Service, *, tries: int) -> _Said:
    """The first choice of a completion; ValueError where the body is none."""
    try:
        body = json.loads(content)
        choice = body["choices"][0]
        message = choice["message"]
    except (json.JSONDecodeError, UnicodeDecodeError, LookupError, TypeError):
        raise ValueError(f"no chat completion: {content[:80]!r}") from None
    end = choice.get("finish_reason")
    refusal = str(message.get("refusal") or ("content filter" if end == "content_filter" else ""))
    counted = body.get("usage") or {}
    tokens = int(counted.get("prompt_tokens") or 0), int(counted.get("completion_tokens") or 0)
    usage = Usage(*tokens, _cost(service, counted, *tokens), tries)
    return _Said(str(message.get("content") or ""), refusal[:200], end == "length", usage)


def _cost(service: Service, counted: Mapping[str, Any], tokens_in: int, tokens_out: int) -> float | None:
    """What the service says it cost, else by the given prices, else unknown."""
    if isinstance(counted.get("cost"), int | float):
        return float(counted["cost"])
    if service.price_in is None or service.price_out is None:
        return None
    return (tokens_in * service.price_in + tokens_out * service.price_out) / 1e6
