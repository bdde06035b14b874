"""Alarms printed beside every result: cheap signs that a good number means something else.

Each says what was looked for, its value, and whether it should worry the reader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from medpref.language.answers import normalise
from medpref.schema import Example, VerdictRow

TEMPLATE_EXCESS = 0.25
LENGTH_RANGE = (0.5, 2.0)
DISTINCT_SHARE = 0.5


class Alarm(NamedTuple):
    """One sign: its name, its value, one line of text, and ``warn`` where it should worry the reader."""

    name: str
    value: float
    text: str
    level: Literal["ok", "warn"]


def alarms(
    examples: Sequence[Example],
    replies: Mapping[str, str],
    train: Sequence[Example],
    rows: Sequence[VerdictRow],
    *,
    synthetic: bool,
) -> list[Alarm]:
    """Every alarm of one model's replies (by example id) to the evaluated examples."""
    found = [*leakage(examples, train), *constant_answer(rows), *unjudged(rows)]
    for kind in sorted({example.kind for example in examples}):
        found += collapse(kind, [example for example in examples if example.kind == kind], replies)
    for answer_type in ("open", "report"):
        held = [example for example in examples if example.answer_type == answer_type]
        found += [*distinct(answer_type, held, replies), *length_drift(answer_type, held, replies)]
    if synthetic:
        text = "Synthetic images: these numbers test the method and say nothing about clinical performance."
        found.append(Alarm("synthetic", 1.0, text, "ok"))
    return found


def leakage(examples: Sequence[Example], train: Sequence[Example]) -> list[Alarm]:
    """The share of evaluated images, and of patients, that also occur in training."""
    found = []
    for what, of in (("image", _images), ("patient", _patients)):
        seen, own = of(train), of(examples)
        shared = len(own & seen)
        text = f"{shared} of {len(own)} {what}s of the evaluation also occur in training."
        found.append(Alarm(f"{what}_leakage", shared / len(own) if own else 0.0, text, "warn" if shared else "ok"))
    return found


def _images(examples: Sequence[Example]) -> set[str]:
    return {image.sha256 for example in examples for image in example.images}


def _patients(examples: Sequence[Example]) -> set[str]:
    return {example.patient for example in examples}


def constant_answer(rows: Sequence[VerdictRow]) -> list[Alarm]:
    """For each question kind: the model's accuracy minus that of always giving the train split's commonest answer."""
    gains: dict[str, list[float]] = {}
    constants: dict[str, str] = {}
    for row in rows:
        if row.metric == "gain_over_constant" and row.value is not None:
            gains.setdefault(row.kind, []).append(row.value)
        elif row.metric == "constant_accuracy":
            constants[row.kind] = row.evidence["constant"]
    found = []
    for kind, values in sorted(gains.items()):
        gain = sum(values) / len(values)
        text = (
            f"{kind}: {100 * gain:+.1f} points against always answering {constants[kind]!r} ({len(values)} questions)."
        )
        found.append(Alarm(f"constant_answer/{kind}", gain, text, "warn" if gain <= 0 else "ok"))
    return found


def unjudged(rows: Sequence[VerdictRow]) -> list[Alarm]:
    """How many verdicts have no value; they are left out of every metric."""
    primary = [row for row in rows if row.metric in ("closed_accuracy", "open_exact")]
    missing = sum(row.value is None for row in primary)
    share = missing / len(primary) if primary else 0.0
    return [
        Alarm("not_judged", share, f"{missing} of {len(primary)} answers were not judged.", "warn" if missing else "ok")
    ]


def collapse(kind: str, examples: Sequence[Example], replies: Mapping[str, str]) -> list[Alarm]:
    """The share of the commonest reply, which should be about that of the commonest reference."""
    said = Counter(normalise(replies[example.id]) for example in examples if example.id in replies)
    if not said:
        return []
    template, count = min(said.items(), key=lambda item: (-item[1], item[0]))
    share = count / said.total()
    usual = max(Counter(normalise(example.answer) for example in examples).values()) / len(examples)
    shown = template if len(template) <= 60 else template[:57] + "..."
    text = f"{kind}: {share:.0%} of replies are {shown!r}; the commonest reference answer covers {usual:.0%}."
    level: Literal["ok", "warn"] = "warn" if share > usual + TEMPLATE_EXCESS and said.total() > 1 else "ok"
    return [Alarm(f"modal_reply/{kind}", share, text, level)]


def distinct(answer_type: str, examples: Sequence[Example], replies: Mapping[str, str]) -> list[Alarm]:
    """Distinct replies over distinct references; well below 1, the model repeats itself."""
    said = {normalise(replies[example.id]) for example in examples if example.id in replies}
    wanted = {normalise(example.answer) for example in examples}
    if not said:
        return []
    share = len(said) / len(examples)
    text = (
        f"{answer_type}: {len(said)} distinct replies to {len(examples)} questions with {len(wanted)} distinct answers."
    )
    level: Literal["ok", "warn"] = "warn" if len(said) < DISTINCT_SHARE * len(wanted) else "ok"
    return [Alarm(f"distinct_replies/{answer_type}", share, text, level)]


def length_drift(answer_type: str, examples: Sequence[Example], replies: Mapping[str, str]) -> list[Alarm]:
    """Words per reply over words per reference answer."""
    held = [example for example in examples if example.id in replies]
    wanted = sum(len(example.answer.split()) for example in held)
    if not wanted:
        return []
    drift = sum(len(replies[example.id].split()) for example in held) / wanted
    low, high = LENGTH_RANGE
    text = f"{answer_type}: replies are {drift:.2f} times as long as the references, in words."
    return [Alarm(f"length_drift/{answer_type}", drift, text, "ok" if low <= drift <= high else "warn")]
