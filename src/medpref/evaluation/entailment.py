"""Which of the reference's facts a report states: completeness and contradiction, by the benchmark's definitions.

Completeness = (entailed + half of the partly entailed) / facts; contradiction = contradicted / facts (Kim et al. 2026,
arXiv:2601.17918). Facts are the statements that the rule-based reader finds in the reference. A fact that could not
be labelled is left out and counted, never taken as neutral. The labels are the reader's, unless a labeller is given.

Knows: statements. Does not know: what a reply claims beyond the facts; that is the unsupported-claim rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from medpref.evaluation.vqa import row_of
from medpref.language.findings import Statement, statements
from medpref.schema import Example, VerdictRow

Label = Literal["entailment", "partial", "neutral", "contradiction"]
Labeller = Callable[[Sequence[Statement], str], list[Label | None]]
LABELS: tuple[Label, ...] = ("entailment", "partial", "contradiction", "neutral")
CREDIT: Mapping[Label, float] = {"entailment": 1.0, "partial": 0.5}
PLACES = ("side", "zone")
DEGREES = ("severity", "size")


def facts_of(example: Example) -> list[Statement]:
    """What the reference states for certain."""
    return [one for one in statements(example.answer) if one.polarity != "uncertain"]


def fact_rows(example: Example, reply: str, label: Labeller | None = None) -> list[VerdictRow]:
    """``fact_completeness`` and ``fact_contradiction`` of a reply; none where the reference states no fact."""
    facts = facts_of(example)
    if not facts:
        return []
    labels = (label or read_labels)(facts, reply)
    judged = [one for one in labels if one is not None]
    evidence = {str(name): str(judged.count(name)) for name in LABELS}
    evidence["not_judged"] = str(len(labels) - len(judged))
    reason = f"{len(judged)} of {len(labels)} facts judged"
    complete = sum(CREDIT.get(one, 0.0) for one in judged) / len(judged) if judged else None
    against = judged.count("contradiction") / len(judged) if judged else None
    return [
        row_of(example, "fact_completeness", complete, reason=reason, evidence=evidence),
        row_of(example, "fact_contradiction", against, reason=reason),
    ]


def read_labels(facts: Sequence[Statement], reply: str) -> list[Label | None]:
    """The rule-based reader's label of each fact: the best that any statement about its finding earns."""
    said = statements(reply)
    return [
        min((_against(fact, one) for one in said if one.finding == fact.finding), key=LABELS.index, default="neutral")
        for fact in facts
    ]


def _against(fact: Statement, said: Statement) -> Label:
    """A statement about the fact's finding: another place contradicts, an unsaid or other degree is half."""
    if said.polarity == "uncertain":
        return "partial"
    if said.polarity != fact.polarity:
        return "contradiction"
    if fact.polarity == "absent":
        return "entailment"
    wanted, given = fact.attributes, said.attributes
    if any(given.get(key, wanted.get(key)) != wanted.get(key) for key in PLACES if key in wanted):
        return "contradiction"
    return (
        "entailment"
        if all(given.get(key) == wanted[key] for key in (*PLACES, *DEGREES) if key in wanted)
        else "partial"
    )
