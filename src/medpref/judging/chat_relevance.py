"""Clinical relevance as bound language models see it: one model, or several in a chain until they agree.

MMedPO's score by consensus (arXiv:2412.06141, section 3.2; ``panel`` has the rule). The models read texts, never the
image. Bound by ``--judge``; nothing is asked about a reply that agrees with the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from medpref.judging.agreement import Agreement
from medpref.judging.panel import Opinion, consult
from medpref.judging.relevance import Relevance
from medpref.language.templates import Template, load_template
from medpref.models.chat import Chat, ChatRequest, Roles, ask_one
from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict


class RelevanceScore(Frozen):
    """How much a wrong answer matters."""

    reason: str
    score: float = Field(ge=0, le=1)


@JUDGES.add
class ChatRelevance(Frozen):
    """The clinical relevance of a wrong reply in [0, 1]; 0 where the reply agrees with the reference.

    Each model sees the score before its own. ``rounds`` and ``tolerance`` as in ``panel``.
    """

    kind: Literal["chat_relevance"] = "chat_relevance"
    rounds: int = Field(default=5, ge=1, le=5)
    tolerance: float = Field(default=0.1, ge=0, le=1)

    def bound_to(self, roles: Roles) -> BoundRelevance:
        """This judge with its models."""
        return BoundRelevance(self, roles, load_template("relevance", roles.prompts))

    def judge(self, example: Example, reply: str) -> Verdict:
        return Verdict(None, "not judged: no language model is bound to the role judge")


@dataclass(frozen=True)
class BoundRelevance:
    """The judge at work; ``plan`` is its configuration."""

    plan: ChatRelevance
    roles: Roles
    prompt: Template
    kind: str = "chat_relevance"

    def bound_to(self, roles: Roles) -> BoundRelevance:
        """The same judge with other models."""
        return self.plan.bound_to(roles)

    def judge(self, example: Example, reply: str) -> Verdict:
        if Agreement().judge(example, reply).value == 1.0:
            return Verdict(0.0, "no error: the reply agrees with the reference")
        readers = [_Reader(chat, self.prompt) for chat in self.roles.chats]
        members: Mapping[str, Opinion] = {f"model {n}": reader.opinion for n, reader in enumerate(readers, start=1)}
        verdict = consult(members, example, reply, rounds=self.plan.rounds, tolerance=self.plan.tolerance, retries=0)
        told = {f"model {number}": reader.model for number, reader in enumerate(readers, start=1)}
        failed = {f"model {n} failed": reader.failure for n, reader in enumerate(readers, start=1) if reader.failure}
        return verdict._replace(evidence={**verdict.evidence, **told, **failed, "prompt": self.prompt.label})


@dataclass
class _Reader:
    chat: Chat
    prompt: Template
    model: str = ""
    failure: str = ""

    def opinion(self, example: Example, reply: str, previous: float | None) -> str:
        """The model's score as text, empty where it gave none (and why in ``failure``)."""
        text = self.prompt.fill(
            question=example.question, answer=example.answer, reply=reply, previous=previous, kind=example.kind
        )
        request = ChatRequest(text, RelevanceScore, lambda: _by_rule(example, reply), example.credentialed)
        answer = ask_one(self.chat, request)
        value: Any = answer.value
        self.model, self.failure = answer.model, answer.reason or self.failure
        return "" if value is None else repr(float(value.score))


def _by_rule(example: Example, reply: str) -> RelevanceScore:
    verdict = Relevance().judge(example, reply)
    return RelevanceScore(reason=verdict.reason, score=verdict.value or 0.0)
