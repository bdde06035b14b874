"""The seam to language models: questions with a form to fill in, answers that fill it or a reason why not. No torch.

Knows: what a question is and what tells one from another. Does not know: who answers (``chat_service``, ``chat_local``,
``chat_replay``, ``chat_rules``), nor what was answered before (``chat_cache``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel

from medpref import store


class Usage(NamedTuple):
    """What an answer took: tokens read and written over all tries, and its price in USD where that is known."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None
    tries: int = 0

    def plus(self, other: Usage) -> Usage:
        """The sum; a price is known where one of both is."""
        prices = [price for price in (self.cost_usd, other.cost_usd) if price is not None]
        return Usage(
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            sum(prices) if prices else None,
            self.tries + other.tries,
        )


@dataclass(frozen=True, eq=False)
class ChatRequest:
    """One question. ``form`` is the pydantic model that its answer must fill.

    ``rule`` gives the answer of the rule-based path (None: it has none); the back end ``rules`` answers by it.
    ``draw`` tells several draws of the same question apart. ``credentialed``: the prompt holds credentialed text.
    """

    prompt: str
    form: type[BaseModel]
    rule: Callable[[], BaseModel | None] | None = None
    credentialed: bool = False
    temperature: float = 0.0
    max_tokens: int = 1024
    draw: int = 0

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 over prompt, form and decoding: equal for questions that must have one answer."""
        decoding = {"temperature": self.temperature, "max_tokens": self.max_tokens, "draw": self.draw}
        prompt = store.digest(self.prompt.encode())
        return store.digest({"prompt": prompt, "form": self.form.model_json_schema(), "decoding": decoding})


class ChatAnswer(NamedTuple):
    """The answer to the request at index ``place``: its ``value``, or None and a ``reason``.

    ``text`` is what the model said last, ``model`` who said it. ``lasting`` is False where no model is to blame (an
    outage, a rejected call): such an answer is not kept, and the question may be asked again another day.
    """

    place: int
    value: BaseModel | None
    reason: str = ""
    text: str = ""
    model: str = ""
    usage: Usage = Usage()
    lasting: bool = True


Keep = Callable[[ChatAnswer], None]


class Chat(Protocol):
    """Who answers. ``identity`` is part of what an answer is filed under; ``outside``: prompts leave this machine."""

    @property
    def identity(self) -> str: ...

    @property
    def outside(self) -> bool: ...

    def ask(self, requests: Sequence[ChatRequest], keep: Keep | None = None) -> Iterator[ChatAnswer]:
        """One answer a request, as they come. ``keep`` is called with each at once, perhaps from another thread."""
        ...


@dataclass(frozen=True)
class Roles:
    """Who fills the roles of a run: the models bound to ``judge`` (the first also writes), and a folder of prompts."""

    chats: tuple[Any, ...] = ()
    prompts: Path | None = None


NOBODY = Roles()


def ask_one(chat: Chat, request: ChatRequest) -> ChatAnswer:
    """The answer to a single request."""
    (answer,) = chat.ask([request])
    return answer
