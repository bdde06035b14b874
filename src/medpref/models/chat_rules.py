"""No model: every question is answered by the rule that came with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from medpref.models.chat import ChatAnswer, ChatRequest, Keep
from medpref.schema import Frozen


class Rules(Frozen):
    """The rule-based path behind the seam: what a recipe asks of a model goes through the same forms and checks."""

    kind: Literal["rules"] = "rules"

    @property
    def identity(self) -> str:
        return "rules"

    @property
    def outside(self) -> bool:
        return False

    def ask(self, requests: Sequence[ChatRequest], keep: Keep | None = None) -> Iterator[ChatAnswer]:
        for place, request in enumerate(requests):
            value = request.rule() if request.rule else None
            reason = "" if value is not None else "the rules have no answer"
            answer = ChatAnswer(place, value, reason, model="rules", lasting=False)
            if keep is not None:
                keep(answer)
            yield answer
