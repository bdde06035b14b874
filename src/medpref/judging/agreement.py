"""Whether a reply says the same as the reference: the decision by which curation calls it right or wrong."""

from __future__ import annotations

from typing import Literal

from medpref.judging.exact import closed_choices
from medpref.judging.findings import compare
from medpref.judging.overlap import overlap
from medpref.language.answers import contains, normalise, parse_closed, tokens
from medpref.language.findings import mentions
from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict

SAME_WORDS_F1 = 0.75
LISTED_WORDS = 8
DENIALS = frozenset({"no", "not", "without", "never", "neither", "absent"})
LISTED = frozenset({"finding", "device"})
EXCLUSIVE = frozenset({"side", "zone", "severity", "size", "count", "plane", "modality", "sequence", "contrast"})


@JUDGES.add
class Agreement(Frozen):
    """1 where the reply agrees with the reference, 0 where it does not.

    Closed: the same decision (an undecided reply does not agree). Report: every asserted finding of the reference,
    none contradicted, altered in side or degree, or unsupported. Open: every lexicon concept of the reference affirmed
    and no other one of an exclusive type (in a reply at most 8 words longer than the reference, findings and devices
    are exclusive too: it is read as a list); outside the lexicon, the reference's words in a row or a token F1 of 0.75.
    """

    kind: Literal["agreement"] = "agreement"

    def judge(self, example: Example, reply: str) -> Verdict:
        if normalise(reply) == normalise(example.answer):
            return Verdict(1.0, "the same words")
        choices = closed_choices(example)
        right = None if choices is None else parse_closed(example.answer, choices, example.question)
        if right is not None and choices is not None:
            said = parse_closed(reply, choices, example.question)
            if said is None:
                return Verdict(0.0, "undecided")
            return Verdict(float(normalise(said) == normalise(right)), f"decides for {said!r}")
        return _report(example, reply) if example.answer_type == "report" else _open(example, reply)


def _report(example: Example, reply: str) -> Verdict:
    found = compare(example.answer, reply)
    for name in ("contradicted", "altered", "missing", "unsupported"):
        if getattr(found, name):
            return Verdict(0.0, f"{name}: {', '.join(getattr(found, name))}")
    if found.matched:
        return Verdict(1.0, "every finding agrees")
    return _words(example.answer, reply)


def _open(example: Example, reply: str) -> Verdict:
    ours = {(m.concept.type, m.concept.name): m.polarity for m in mentions(example.answer)}
    if not ours:
        return _words(example.answer, reply)
    theirs = {(m.concept.type, m.concept.name): m.polarity for m in mentions(reply)}
    for key, polarity in ours.items():
        if theirs.get(key) != polarity:
            return Verdict(0.0, f"{key[1]} is {theirs.get(key, 'not named')}")
    named = {key[0] for key in ours}
    short = len(reply.split()) <= len(example.answer.split()) + LISTED_WORDS
    closed = named & (EXCLUSIVE | LISTED if short else EXCLUSIVE)
    for kind, name in theirs:
        if kind in closed and (kind, name) not in ours and theirs[kind, name] == "present":
            return Verdict(0.0, f"also says {name}")
    return Verdict(1.0, "every concept agrees")


def _words(reference: str, reply: str) -> Verdict:
    if bool(DENIALS & set(tokens(reference))) != bool(DENIALS & set(tokens(reply))):
        return Verdict(0.0, "one of both denies")
    if contains(reply, reference):
        return Verdict(1.0, "contains the reference")
    f1 = overlap(reference, reply).f1
    return Verdict(float(f1 >= SAME_WORDS_F1), f"token F1 {f1:.2f}")
