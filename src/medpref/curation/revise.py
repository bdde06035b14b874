"""Minimal edits of the policy's own reply (FiRe-MPO, arXiv:2606.12590, section 3): right it, or make it wrong.

Knows: how to replace the words that answer. Does not know: what is in the image. The result is checked, not trusted:
chosen agrees with the reference, rejected does not, and outside the spans both are equal.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from medpref.curation.chat_correct import Correction, Revised, revise_by_chat
from medpref.curation.clause import at_odds, clause, contradicts_itself, main_clause, nonsense, says_otherwise
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.falsify import error_of, falsify
from medpref.curation.righting import left_over, righted
from medpref.judging.agreement import Agreement
from medpref.language.diff import outside, spans
from medpref.registry import WRITERS
from medpref.schema import CHOSEN, REJECTED, Example, Frozen, Reply


@WRITERS.add
class Correct(Frozen):
    """Both replies from the policy's own one: edited to be right where it is wrong, or wrong where it is right.

    Of a reply only the sentence that answers is kept, on both sides, up to where it goes on (", which", ", with").
    ``by: chat``: the bound language model finds it and edits it.
    """

    kind: Literal["correct"] = "correct"
    both: ClassVar[bool] = True
    of: str = "own"
    by: Literal["rules", "chat"] = "rules"

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        held = context.own.get(example.id)
        if held is None or not held.text.strip():
            return Refused("the policy gave no reply to this example")
        revised = (
            revise_by_chat(example, held.text, context, rule=lambda: _as_form(revise(example, held.text, context)))
            if self.by == "chat"
            else revise(example, held.text, context)
        )
        if isinstance(revised, Refused):
            return revised
        own, right, edited, notes = revised
        chosen, rejected = (own, edited) if right else (edited, own)
        complaint = unsound(example, chosen, rejected)
        if complaint:
            return Refused(complaint)
        writer = "chat" if self.by == "chat" else "correct"
        replies = {
            CHOSEN: Reply(text=chosen, author="policy" if right else writer),
            REJECTED: Reply(text=rejected, author=writer if right else "policy"),
        }
        error = error_of(example, rejected, chosen)
        return Draft(replies, {"own_was_right": right, "error": error, "made_by": writer, **notes})


def revise(example: Example, reply: str, context: Context) -> Revised | Refused:
    """The clause that answers, whether it is right, and its minimal edit by rules to be the other."""
    own = main_clause(example, clause(example, reply))
    if contradicts_itself(example, own):
        return Refused("the policy's reply contradicts itself")
    right = Agreement().judge(example, own).value == 1.0
    if example.answer_type != "report" and ((right and left_over(example, own)) or nonsense(example, own, context)):
        return Refused("the policy's reply says more than the reference can vouch for")
    made = falsify(example, own, context, purpose="correct") if right else None
    edited = (made.text if made else None) if right else righted(example, own)
    if not edited:
        return Refused("no minimal edit of the policy's reply " + ("makes it wrong" if right else "rights it"))
    return Revised(own, right, edited, {})


def _as_form(revised: Revised | Refused) -> Correction | None:
    if isinstance(revised, Refused):
        return None
    return Correction(clause=revised.own, right=revised.right, edited=revised.edited)


def unsound(example: Example, chosen: str, rejected: str) -> str | None:
    """What is wrong with a pair of revised replies, or None."""
    judge = Agreement()
    if judge.judge(example, chosen).value != 1.0:
        return "the edited reply does not agree with the reference"
    if judge.judge(example, rejected).value != 0.0:
        return "the rejected reply is not wrong"
    odd = any(says_otherwise(example, text) for text in (chosen, rejected))
    if odd or (example.answer_type != "report" and at_odds(chosen) != at_odds(rejected)):
        return "an edited reply is at odds with itself"
    ours, theirs = spans(chosen, rejected)
    if outside(chosen, ours) != outside(rejected, theirs):
        return "the replies differ outside their spans"
    return None
