"""Verdict rows of a reply to a closed or open question, beside those of a constant answer and of the legacy scoring.

Closed: the decision is parsed from the reply and compared as a class; a reply without a decision is wrong and counted
as unparsed. Open: exact match, token recall and F1, and set F1 where the reference lists several labels.

Knows: one question, one reply. Does not know: models, metrics over many rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set

from medpref.evaluation.legacy import legacy_closed_substring, legacy_open_recall
from medpref.judging.overlap import overlap
from medpref.language.answers import normalise, parse_closed
from medpref.schema import Example, VerdictRow

YES_NO = ("yes", "no")
_BETWEEN_LABELS = re.compile(r"[,;]|\band\b")


def row_of(
    example: Example, metric: str, value: float | None, *, reason: str = "", evidence: dict[str, str] | None = None
) -> VerdictRow:
    """A verdict row that carries the example's patient, kind and tags."""
    return VerdictRow(
        example=example.id,
        patient=example.patient,
        metric=metric,
        value=value,
        reason=reason,
        kind=example.kind,
        tags=example.tags,
        evidence=evidence or {},
    )


def answer_rows(example: Example, reply: str, constant: str | None = None) -> list[VerdictRow]:
    """The rows of one reply; ``constant`` is the answer that the baseline gives to every question of this kind."""
    rows = closed_rows(example, reply) if example.answer_type == "closed" else open_rows(example, reply)
    if constant is not None:
        rows += constant_rows(example, rows[0], constant)
    return rows


def choices_of(example: Example) -> tuple[str, ...]:
    """The classes a closed question decides between: its choices, or yes and no; empty where neither is known."""
    if example.choices:
        return example.choices
    return YES_NO if normalise(example.answer) in YES_NO else ()


def closed_rows(example: Example, reply: str) -> list[VerdictRow]:
    """``closed_accuracy`` (1 where the parsed decision is the reference's class) and its legacy counterpart."""
    choices = choices_of(example)
    answer = parse_closed(example.answer, choices) or example.answer if choices else example.answer
    parsed = parse_closed(reply, choices, example.question) if choices else reply
    right = parsed is not None and normalise(parsed) == normalise(answer)
    reason = "no decision in the reply" if parsed is None else f"{parsed!r} for {answer!r}"
    evidence = {"reply": reply, "parsed": normalise(parsed or ""), "answer": normalise(answer)}
    legacy = legacy_closed_substring(example.answer, reply)
    return [
        row_of(example, "closed_accuracy", float(right), reason=reason, evidence=evidence),
        row_of(example, "legacy_closed_substring", legacy, reason="reference as a substring of the reply"),
    ]


def open_rows(example: Example, reply: str) -> list[VerdictRow]:
    """``open_exact``, ``open_recall``, ``open_f1``, ``open_set_f1`` (several labels only), and the legacy recall."""
    wanted, given = normalise(example.answer), normalise(reply)
    exact = float(wanted == given)
    shared = overlap(example.answer, reply)
    evidence = {"reply": reply, "parsed": given, "answer": wanted}
    rows = [
        row_of(example, "open_exact", exact, reason=f"{given!r} for {wanted!r}", evidence=evidence),
        row_of(example, "open_recall", shared.recall, reason="share of the reference's tokens in the reply"),
        row_of(example, "open_f1", shared.f1, reason="F1 of tokens, as multisets"),
    ]
    several = set(labels(example.answer))
    if len(several) > 1:
        rows.append(row_of(example, "open_set_f1", set_f1(several, set(labels(reply))), reason="F1 of labels"))
    legacy = legacy_open_recall(example.answer, reply)
    return [*rows, row_of(example, "legacy_open_recall", legacy, reason="LLaVA-Med's recall")]


def set_f1(reference: Set[str], reply: Set[str]) -> float:
    """F1 of two sets of labels; 0 where one is empty.

    >>> set_f1({"lung", "liver"}, {"lung"})
    0.6666666666666666
    """
    return 2 * len(reference & reply) / (len(reference) + len(reply)) if reference or reply else 0.0


def labels(text: str) -> list[str]:
    """The labels a text lists, normalised: split at commas, semicolons and ``and``.

    >>> labels("Lung, the heart and liver.")
    ['lung', 'heart', 'liver']
    """
    return [label for part in _BETWEEN_LABELS.split(text.lower()) if (label := normalise(part))]


def constant_answers(train: Sequence[Example]) -> dict[str, str]:
    """The most frequent answer of each question kind in the train split; of equally frequent ones the first by name."""
    counts: dict[str, Counter[str]] = {}
    for example in train:
        if example.answer_type != "report":
            counts.setdefault(example.kind, Counter())[normalise(example.answer)] += 1
    return {kind: min(held, key=lambda answer: (-held[answer], answer)) for kind, held in counts.items()}


def constant_rows(example: Example, own: VerdictRow, constant: str) -> list[VerdictRow]:
    """What the constant answer scores on this question, and the model's own value minus that (paired)."""
    right = float(normalise(constant) == normalise(own.evidence.get("answer", example.answer)))
    gain = None if own.value is None else own.value - right
    evidence = {"constant": constant}
    return [
        row_of(example, "constant_accuracy", right, reason=f"always {constant!r}", evidence=evidence),
        row_of(example, "gain_over_constant", gain, reason=f"{own.metric} minus always {constant!r}"),
    ]
