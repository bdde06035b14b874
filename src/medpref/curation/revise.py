"""Minimal edits of the policy's own reply (FiRe-MPO, arXiv:2606.12590, section 3): right it, or make it wrong.

Knows: how to replace the words that answer. Does not know: what is in the image. The result is checked, not trusted:
chosen agrees with the reference, rejected does not, and outside the spans both are equal.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from medpref.curation.chat_correct import Correction, Revised, revise_by_chat
from medpref.curation.chat_hallucinate import error_between
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.falsify import error_of, falsify, put_choice
from medpref.judging.agreement import Agreement
from medpref.judging.exact import closed_choices
from medpref.judging.findings import compare
from medpref.language.answers import YES_NO, is_yes_no, normalise, parse_closed
from medpref.language.diff import outside, spans
from medpref.language.edits import edits
from medpref.language.findings import mentions, sentences
from medpref.language.lexicon import lexicon
from medpref.language.presence import flip_decision, flip_presence, flip_statement
from medpref.language.rewrite import replace
from medpref.language.substitute import put
from medpref.language.wording import styled
from medpref.registry import WRITERS
from medpref.schema import CHOSEN, REJECTED, Example, Frozen, Reply

SHORT_WORDS = 6


@WRITERS.add
class Correct(Frozen):
    """Both replies from the policy's own one: edited to be right where it is wrong, or wrong where it is right.

    Of a reply of several sentences only the one that answers is kept, on both sides. ``by: chat``: the bound language
    model finds it and edits it.
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
        error = error_between(example, chosen, rejected) if self.by == "chat" else error_of(example, rejected)
        return Draft(replies, {"own_was_right": right, "error": error, "made_by": writer, **notes})


def revise(example: Example, reply: str, context: Context) -> Revised | Refused:
    """The clause that answers, whether it is right, and its minimal edit by rules to be the other."""
    own = clause(example, reply)
    right = Agreement().judge(example, own).value == 1.0
    made = falsify(example, own, context, purpose="correct") if right else None
    edited = (made.text if made else None) if right else righted(example, own)
    if not edited:
        return Refused("no minimal edit of the policy's reply " + ("makes it wrong" if right else "rights it"))
    return Revised(own, right, edited, {"error": made.error} if made else {})


def _as_form(revised: Revised | Refused) -> Correction | None:
    if isinstance(revised, Refused):
        return None
    return Correction(clause=revised.own, right=revised.right, edited=revised.edited)


def clause(example: Example, own: str) -> str:
    """The sentence of a reply that answers (FiRe-MPO's extracted clause); a report stays whole.

    Closed: the first that decides, with the one after it where it is a bare yes or no. Open: the first that speaks of
    what the reference speaks of. Else the first.
    """
    text = own.strip()
    parts = [re.sub(r"[;:]$", ".", text[start:end].strip()) for start, end in sentences(text)]
    if example.answer_type == "report" or len(parts) < 2:
        return text
    choices = closed_choices(example)
    kinds = {mention.concept.type for mention in mentions(example.answer)}
    for place, part in enumerate(parts):
        if choices is not None and parse_closed(part, choices, example.question) is not None:
            return " ".join(parts[place : place + 2]) if normalise(part) in YES_NO else part
        if choices is None and kinds & {mention.concept.type for mention in mentions(part)}:
            return part
    return parts[0]


def unsound(example: Example, chosen: str, rejected: str) -> str | None:
    """What is wrong with a pair of revised replies, or None."""
    judge = Agreement()
    if judge.judge(example, chosen).value != 1.0:
        return "the edited reply does not agree with the reference"
    if judge.judge(example, rejected).value != 0.0:
        return "the rejected reply is not wrong"
    ours, theirs = spans(chosen, rejected)
    if outside(chosen, ours) != outside(rejected, theirs):
        return "the replies differ outside their spans"
    return None


def righted(example: Example, own: str) -> str | None:
    """The policy's wrong reply with the fewest words replaced so that it agrees with the reference, or None."""
    if example.answer_type == "report":
        return _righted_report(example.answer, own)
    choices = closed_choices(example)
    judge = Agreement()
    for candidate in _candidates(example, own, choices):
        if candidate and judge.judge(example, candidate).value == 1.0:
            return candidate
    return None


def _candidates(example: Example, own: str, choices: tuple[str, ...] | None) -> list[str | None]:
    short = styled(example.answer, like=own) if len(own.split()) <= SHORT_WORDS else None
    if choices is not None and (not choices or is_yes_no(choices)):
        lead, whole = flip_decision(own, example.question), flip_statement(own, example.question)
        flips = [edit.text for edit in edits(own, ("presence", "normality"))]
        return [replace(own, lead) if lead else None, *flips, replace(own, whole) if whole else None, short]
    if choices is not None:
        said = parse_closed(own, choices, example.question)
        gold = parse_closed(example.answer, choices, example.question)
        return [put_choice(own, said, gold) if said and gold else None, short]
    return [_concepts_put(example.answer, own), short]


def _concepts_put(reference: str, own: str) -> str | None:
    """The reply with the reference's concepts where others of the same type stand; None where there is no place."""
    for one in mentions(reference):
        read = mentions(own)
        if any(m.concept == one.concept for m in read):
            continue
        places = [m for m in read if m.concept.type == one.concept.type and m.match.gap == (0, 0)]
        if not places:
            return None
        own = replace(own, put(own, places[0], one.concept))
    return own


def _righted_report(reference: str, own: str) -> str | None:
    """The report with its contradictions flipped, its altered attributes mended, its unsupported findings denied.

    A finding that the report leaves out cannot be put in by a few words: such a report has no minimal edit (None).
    """
    for _ in range(8):
        found = compare(reference, own)
        flip = (*found.contradicted, *found.unsupported)
        if flip:
            changed = _flip(own, flip[0])
        elif found.altered:
            changed = _mend(own, found.altered[0])
        else:
            return own if not found.missing else None
        if changed is None or changed == own:
            return None
        own = changed
    return None


def _flip(own: str, finding: str) -> str | None:
    for mention in mentions(own, ("finding", "device")):
        if mention.concept.name == finding:
            changes = flip_presence(own, mention)
            if changes:
                return replace(own, changes)
    return None


def _mend(own: str, altered: str) -> str | None:
    """One attribute exchanged; ``altered`` reads ``finding: attribute right/said``."""
    finding, _, rest = altered.partition(": ")
    kind, _, values = rest.partition(" ")
    right, _, said = values.partition("/")
    places = [m for m in mentions(own, (kind,)) if m.concept.name == said]
    subjects = [m for m in mentions(own, ("finding", "device")) if m.concept.name == finding]
    near = [place for place in places if any(place.clause == one.clause for one in subjects)]
    return replace(own, put(own, near[0], lexicon().get(kind, right))) if near else None
