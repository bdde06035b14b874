"""What writers, judges, miners, screens and reweighers promise: the same answer twice, a reason for every no."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from medpref.curation.draft import Draft, Refused
from medpref.curation.screens import Around
from medpref.schema import CHOSEN, CLEAN, REJECTED, Example, PreferencePair, Reply, Verdict
from medpref.testing.promise import promise
from medpref.testing.studies import QUESTIONS, Studies

ROLES = (CHOSEN, REJECTED)


def check_writer(writer: Any, studies: Studies) -> None:
    """A draft of what was asked for, or a reason for none; pure in (example, context, other draft)."""
    for example in studies.examples:
        given = Draft({CHOSEN: Reply(text=example.answer, author="reference")})
        for role in ROLES:
            other = given if role == REJECTED else None
            draft = writer.write(example, studies.context, role=role, other=other)
            again = writer.write(example, studies.context, role=role, other=other)
            promise(draft == again, "writes something else the second time")
            _check_draft(writer, draft, role=role)


def _check_draft(writer: Any, draft: Any, *, role: str) -> None:
    if isinstance(draft, Refused):
        promise(bool(draft.reason.strip()), "refuses without a reason")
        return
    promise(isinstance(draft, Draft), "gives neither a Draft nor a Refused")
    wanted = set(ROLES) if writer.both else {role}
    promise(set(draft.replies) == wanted, f"writes {sorted(draft.replies)}, asked for {sorted(wanted)}")
    _check_json(draft.notes, "its notes")


def check_judge(judge: Any, studies: Studies) -> None:
    """A number in [0, 1] with a reason, or None (not judged) with a reason; the same twice."""
    wrong = {question: reply for _, question, _, reply, _ in QUESTIONS}
    for example in studies.examples:
        for reply in (example.answer, wrong[example.question], "It cannot be said.", "?"):
            verdict = judge.judge(example, reply)
            promise(isinstance(verdict, Verdict), "gives no Verdict")
            promise(verdict == judge.judge(example, reply), "judges differently the second time")
            promise(bool(verdict.reason.strip()), "gives no reason")
            value = verdict.value
            in_range = value is None or (math.isfinite(value) and 0 <= value <= 1)
            promise(in_range, f"gives {value}, which is neither None (not judged) nor in [0, 1]")
            textual = all(isinstance(item, str) for pair in verdict.evidence.items() for item in pair)
            promise(textual, "gives evidence that is not text")


def check_miner(miner: Any, studies: Studies) -> None:
    """Picks among the given examples, none twice, each with a reason; the same twice."""
    given = list(studies.examples)
    picks = list(miner.select(given, studies.context))
    names = [pick.example.id for pick in picks]
    promise(names == [pick.example.id for pick in miner.select(given, studies.context)], "picks others the second time")
    promise(set(names) <= {example.id for example in given}, "picks an example that it was not given")
    promise(len(set(names)) == len(names), "picks an example twice")
    promise(given == list(studies.examples), "writes into the list of examples")
    for pick in picks:
        promise(isinstance(pick.reason, Mapping) and bool(pick.reason), "picks without a reason")
        _check_json(pick.reason, "the reason of a pick")
    promise(list(miner.select([], studies.context)) == [], "picks something of nothing")


def check_screen(screen: Any, studies: Studies) -> None:
    """None, or a reason to drop the pair; the same twice; with and without the example at hand."""
    for example in studies.examples:
        for pair in (_pair(example, two=True), _pair(example, two=False)):
            for around in (Around(), Around(example, frozenset({"elsewhere"}), frozenset())):
                reason = screen.reject(pair, around)
                promise(reason is None or bool(str(reason).strip()), "drops a pair without a reason")
                promise(reason == screen.reject(pair, around), "decides otherwise the second time")


def check_reweigher(reweigher: Any, studies: Studies) -> None:
    """As many finite weights >= 0 as were given, by value and not by place; equal ones stay equal."""
    given = [0.9, 0.1, 0.5, 1.0, 0.1, 0.7]
    made = reweigher.reweigh(given)
    promise(len(made) == len(given), "gives another number of weights")
    promise(all(math.isfinite(weight) and weight >= 0 for weight in made), "gives a weight that is no weight")
    turned = zip(reweigher.reweigh(given[::-1])[::-1], made, strict=True)
    promise(all(math.isclose(one, two, rel_tol=1e-9) for one, two in turned), "depends on the order of pairs")
    promise(math.isclose(made[1], made[4], rel_tol=1e-9), "tells equal weights apart")
    promise(list(reweigher.reweigh([])) == [], "makes weights of none")


def _pair(example: Example, *, two: bool) -> PreferencePair:
    replies = {CHOSEN: Reply(text=example.answer)} | ({REJECTED: Reply(text="Something else.")} if two else {})
    return PreferencePair(
        id=f"contract/{example.id}",
        example=example.id,
        patient=example.patient,
        question=example.question,
        views={CLEAN: example.images},
        replies=replies,
        kind=example.kind,
        provenance={"answer": example.answer},
    )


def _check_json(value: Any, what: str) -> None:
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"puts into {what} what has no JSON form: {error}") from None
