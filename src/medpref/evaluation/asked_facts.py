"""Fact entailment by a bound language model: the facts are the reader's, each label is the model's.

Metrics and definitions are those of ``entailment``. A report whose answer is missing, or does not label every fact, is
not judged: such facts count nowhere. The model reads texts, never the image.

Knows: who is asked and how its answer is filed. Does not know: what the labels are worth.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medpref.errors import ModelError
from medpref.evaluation.entailment import Label, fact_rows, facts_of, read_labels
from medpref.language.findings import Statement
from medpref.language.templates import Template, load_template
from medpref.models.chat import ChatRequest, Roles
from medpref.schema import Example, Frozen, VerdictRow

FactRows = Callable[[Sequence[Example], Mapping[str, str]], list[list[VerdictRow]]]
PROMPT = "facts"


class FactLabels(Frozen):
    """One label a fact, in the order of the facts."""

    labels: tuple[Label, ...]


def read_rows(examples: Sequence[Example], replies: Mapping[str, str]) -> list[list[VerdictRow]]:
    """The rows of each report by the rule-based reader."""
    return [fact_rows(example, replies[example.id]) for example in examples]


def asked_by(roles: Roles) -> FactRows:
    """The function that asks the first model of ``roles``; ModelError where nobody is bound."""
    if not roles.chats:
        given = "nobody is bound to the role judge"
        raise ModelError("evaluation.facts=judge", given=given, expected="--judge ...", todo="name a model, or rules")
    return functools.partial(asked_rows, roles=roles)


def asked_rows(examples: Sequence[Example], replies: Mapping[str, str], *, roles: Roles) -> list[list[VerdictRow]]:
    """The rows of each report, all questions put to the model together; evidence names the model and the prompt."""
    prompt = load_template(PROMPT, roles.prompts)
    asked = [example for example in examples if facts_of(example)]
    requests = [_request(example, replies[example.id], prompt) for example in asked]
    answers = {asked[answer.place].id: answer for answer in roles.chats[0].ask(requests)}
    found = []
    for example in examples:
        answer = answers.get(example.id)
        labels = _labels(answer.value if answer else None, len(facts_of(example)))
        rows = fact_rows(example, replies[example.id], lambda facts, reply, labels=labels: labels)  # type: ignore[misc]
        told = {"model": answer.model, "prompt": prompt.label} if answer else {}
        told |= {"failed": answer.reason} if answer and answer.reason else {}
        found.append([row.model_copy(update={"evidence": {**row.evidence, **told}}) for row in rows])
    return found


def in_words(fact: Statement) -> str:
    """A fact as a short line.

    >>> in_words(Statement("effusion", "present", {"side": "left", "size": "small"}))
    'effusion: present; side left; size small'
    """
    told = [f"{key} {value}" for key, value in fact.attributes.items()]
    return "; ".join([f"{fact.finding}: {fact.polarity}", *told])


def _request(example: Example, reply: str, prompt: Template) -> ChatRequest:
    facts = facts_of(example)
    text = prompt.fill(question=example.question, facts=[in_words(fact) for fact in facts], reply=reply)

    def by_rule() -> FactLabels:
        return FactLabels(labels=tuple(label for label in read_labels(facts, reply) if label is not None))

    return ChatRequest(text, FactLabels, by_rule, example.credentialed)


def _labels(value: Any, count: int) -> list[Label | None]:
    held = list(value.labels) if value is not None else []
    return held if len(held) == count else [None] * count
