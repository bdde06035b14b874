"""A chat that answers by a function of the prompt, and counts what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from medpref.models.chat import ChatAnswer, ChatRequest

Says = Callable[[ChatRequest], dict[str, Any] | str]
"""The fields of the form, or the reason why there is no answer."""


class Scripted:
    def __init__(self, says: Says, identity: str = "scripted") -> None:
        self.says, self.identity, self.outside = says, identity, False
        self.calls: list[list[ChatRequest]] = []

    def ask(self, requests: Sequence[ChatRequest], keep: Any = None) -> Iterator[ChatAnswer]:
        self.calls.append(list(requests))
        for place, request in enumerate(requests):
            said = self.says(request)
            value = None if isinstance(said, str) else request.form.model_validate(said)
            reason = said if isinstance(said, str) else ""
            answer = ChatAnswer(place, value, reason, "text", self.identity)
            if keep is not None:
                keep(answer)
            yield answer

    @property
    def asked(self) -> int:
        return sum(map(len, self.calls))


def steady(says: Says) -> Says:
    """The first answer to an equal question again, as of a model at temperature 0."""
    held: dict[str, dict[str, Any] | str] = {}
    return lambda request: held.setdefault(request.key, says(request))


def by_rule(request: ChatRequest) -> dict[str, Any] | str:
    """What the rules would answer."""
    value = request.rule() if request.rule else None
    return "the rules have no answer" if value is None else value.model_dump()
