"""FiRe-MPO's locate and edit by a language model: the words that answer, whether they are right, and a minimal edit.

Nothing is taken on trust: the clause must stand in the reply, right and wrong must be what the checks of the rule-based
path say, and the edit must be small. Spans come from the final strings, not from the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from medpref.curation.chat_ask import ask_form
from medpref.curation.draft import Context, Refused
from medpref.judging.agreement import Agreement
from medpref.language.diff import edit_share, spans
from medpref.language.findings import sentences
from medpref.schema import Example, Frozen

SHORT_WORDS = 6
LARGEST_EDIT = 0.5
WORDS_A_SENTENCE = 3


class Correction(Frozen):
    """The clause that answers, whether it is right, and the clause with the fewest words changed to be the other."""

    clause: str
    right: bool
    edited: str


class Revised(NamedTuple):
    """The policy's own words, whether they are right, the edited ones, and notes for provenance."""

    own: str
    right: bool
    edited: str
    notes: dict[str, Any]


def revise_by_chat(
    example: Example, reply: str, context: Context, *, rule: Callable[[], Correction | None]
) -> Revised | Refused:
    """What the model makes of the policy's reply, or why it cannot be used."""
    report = example.answer_type == "report"
    said = reply.strip()
    told = ask_form(
        "correct", Correction, example, context, rule, said=said, choices=list(example.choices), report=report
    )
    if isinstance(told, Refused):
        return told
    made, notes = told
    own = said if report else made.clause.strip()
    complaint = _unfaithful(example, said, own, made)
    return (
        Refused(f"correct: {complaint}")
        if complaint
        else Revised(own, made.right, made.edited.strip(), {"chat": notes})
    )


def _unfaithful(example: Example, said: str, own: str, made: Correction) -> str | None:
    if not own or " ".join(own.split()) not in " ".join(said.split()):
        return "the clause does not stand in the policy's reply"
    if not made.edited.strip():
        return "the edit is empty"
    if (Agreement().judge(example, own).value == 1.0) != made.right:
        return f"the model calls the reply {'right' if made.right else 'wrong'}, the check does not"
    return _too_much(own, made.edited.strip(), report=example.answer_type == "report")


def _too_much(own: str, edited: str, *, report: bool) -> str | None:
    """Why an edit is not minimal: a report may change three words a sentence, another reply half of its words."""
    if report:
        ours, theirs = spans(own, edited)
        changed = max(_words(own, ours), _words(edited, theirs))
        most = WORDS_A_SENTENCE * max(1, len(sentences(own)))
        return f"the edit changes {changed} words, more than {most}" if changed > most else None
    if len(own.split()) > SHORT_WORDS and edit_share(own, edited) > LARGEST_EDIT:
        return f"the edit changes {edit_share(own, edited):.0%} of the words"
    return None


def _words(text: str, marked: Any) -> int:
    return sum(len(text[span.start : span.end].split()) for span in marked)
