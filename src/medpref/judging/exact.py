"""Exact agreement of a reply with the reference: the same decision, or the same words after normalisation."""

from __future__ import annotations

from typing import Literal

from medpref.language.answers import is_yes_no, normalise, parse_closed
from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict


def closed_choices(example: Example) -> tuple[str, ...] | None:
    """The choices a closed question allows (empty: yes and no), or None where the question is open."""
    if example.choices:
        return example.choices
    return () if is_yes_no([example.answer]) else None


@JUDGES.add
class Exact(Frozen):
    """1 where a closed reply decides for the reference's choice, or an open one equals it after normalisation, else 0.

    A closed reply that decides for nothing is 0 and says so in its evidence. A report is not judged (None).
    """

    kind: Literal["exact"] = "exact"

    def judge(self, example: Example, reply: str) -> Verdict:
        if example.answer_type == "report":
            return Verdict(None, "a report has no exact answer")
        choices = closed_choices(example)
        if choices is not None:
            said = parse_closed(reply, choices, example.question)
            right = parse_closed(example.answer, choices, example.question)
            if right is not None:
                if said is None:
                    return Verdict(0.0, "the reply decides for none of the choices", {"decision": "unparsed"})
                same = normalise(said) == normalise(right)
                return Verdict(float(same), f"decides for {said!r}, reference {right!r}", {"decision": said})
        same = normalise(reply) == normalise(example.answer)
        return Verdict(float(same), "the same words" if same else "other words")
