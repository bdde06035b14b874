"""MMedPO's text dispreference by a language model: it chooses the policy's worst wrong reply, or writes one."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from medpref.curation.chat_ask import ask_form
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.falsify import alike_in_length, error_of, falsify, is_wrong
from medpref.judging.exact import closed_choices
from medpref.judging.relevance import Relevance
from medpref.language.answers import contains, normalise
from medpref.language.wording import styled
from medpref.schema import Example, Frozen, Reply


class Hallucination(Frozen):
    """A wrong answer: the number of a candidate, or 0 and a text of the model's own."""

    choice: int = Field(ge=0)
    text: str
    error: str


def hallucinate(
    example: Example, right: str, candidates: Sequence[str], context: Context, *, role: str
) -> Draft | Refused:
    """The draft of a wrong reply in the style of ``right``; ``candidates`` are wrong replies of the policy."""
    told = ask_form(
        "hallucinate",
        Hallucination,
        example,
        context,
        lambda: _by_rule(example, right, candidates, context),
        right=right,
        candidates=list(candidates),
        choices=list(example.choices),
        report=example.answer_type == "report",
    )
    if isinstance(told, Refused):
        return told
    made, notes = told
    if made.choice > len(candidates):
        return Refused(f"hallucinate: candidate {made.choice} was chosen of {len(candidates)}")
    text = candidates[made.choice - 1] if made.choice else styled(made.text, like=right) if made.text.strip() else ""
    complaint = why_not_wrong(example, text, like=right)
    if complaint:
        return Refused(f"hallucinate: {complaint}")
    author = "policy" if made.choice else "chat"
    notes |= {"error": made.error} | ({} if made.choice or text == made.text else {"written": made.text})
    return Draft(
        {role: Reply(text=text, author=author)},
        {"error": error_of(example, text, right), "made_by": author, f"chat_{role}": notes},
    )


def why_not_wrong(example: Example, text: str, *, like: str) -> str | None:
    """Why a text cannot be the wrong reply beside ``like``, or None (the check of the rule-based path, explained)."""
    if is_wrong(example, text, like=like):
        return None
    if not text.strip():
        return "the wrong answer is empty"
    if normalise(text) == normalise(example.answer):
        return "the wrong answer is the reference"
    if not alike_in_length(text, like):
        return "the wrong answer differs in length from the right one"
    holds = closed_choices(example) is None and contains(text, example.answer)
    return "the wrong answer " + ("contains the reference" if holds else "is not wrong")


def _by_rule(example: Example, right: str, candidates: Sequence[str], context: Context) -> Hallucination | None:
    if candidates:
        worst = max(candidates, key=lambda text: Relevance().judge(example, text).value or 0.0)
        return Hallucination(choice=1 + list(candidates).index(worst), text="", error=error_of(example, worst))
    made = falsify(example, right, context, purpose="hallucinate", whole_sentences=True)
    return Hallucination(choice=0, text=made.text, error=made.error) if made else None
