"""Whether a reply says the same as the reference: the decision by which curation calls it right or wrong."""

from __future__ import annotations

from typing import Literal

from medpref.judging.exact import closed_choices
from medpref.judging.findings import compare
from medpref.judging.overlap import overlap
from medpref.language.answers import contains, normalise, parse_closed, tokens
from medpref.language.findings import mentions
from medpref.language.lexicon import lexicon
from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict

SAME_WORDS_F1 = 0.75
LISTED_WORDS = 8
DENIALS = frozenset({"no", "not", "without", "never", "neither", "absent"})
LIGHT = frozenset(
    {
        "in", "on", "at", "of", "and", "or", "to", "with", "for", "by", "from", "is", "are", "was", "it", "its",
        "there", "this", "that", "within", "side", "region", "area", "image", "scan", "film", "seen", "shows", "see",
        "both", "acute", "likely", "most", "mid", "level", "study", "answer", "evidence", "iv",
    }
)  # fmt: skip
LISTED = frozenset({"finding", "device"})
EXCLUSIVE = frozenset({"side", "zone", "severity", "size", "count", "plane", "modality", "sequence", "contrast"})


@JUDGES.add
class Agreement(Frozen):
    """1 where the reply agrees with the reference, 0 where it does not, None where it says only a part of it.

    Closed: the same decision (an undecided reply does not agree). Report: every asserted finding of the reference,
    none contradicted, altered in side or degree, or unsupported. Open: every lexicon concept of the reference affirmed
    and no other one of an exclusive type (in a reply at most 8 words longer than the reference, findings and devices
    are exclusive too: it is read as a list); outside the lexicon, the reference's words in a row or a token F1 of 0.75.
    What the question names is no claim of the reply's. An open reply that names some of the concepts and contradicts
    none, and leaves out no finding ("X-ray" for "chest X-ray"), is neither right nor wrong; so is a part for the whole
    (the pons for the brain).
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
        if key in theirs and theirs[key] != polarity:
            return Verdict(0.0, f"{key[1]} is {theirs[key]}")
    missed = [key for key in ours if key not in theirs]
    short = len(reply.split()) <= len(example.answer.split()) + LISTED_WORDS
    closed = {key[0] for key in ours} & (EXCLUSIVE | LISTED if short else EXCLUSIVE) | {key[0] for key in missed}
    asked = {(m.concept.type, m.concept.name) for m in mentions(example.question)}
    offered = {kind for kind, _ in asked & set(ours)}
    free = set(ours) | {key for key in asked if key[0] not in offered}
    for key in (key for key in theirs if key not in free and key[0] in closed and theirs[key] == "present"):
        if not any(_related(key, other) for other in missed):
            return Verdict(0.0, f"also says {key[1]}")
    if not missed:
        return _unread(example.answer, reply)
    near = len(missed) < len(ours) or any(_related(key, other) for key in theirs for other in missed)
    part = near and all(key[0] not in LISTED or any(_related(key, other) for other in theirs) for key in missed)
    return Verdict(None if part else 0.0, f"{missed[0][1]} is not named")


def _unread(reference: str, reply: str) -> Verdict:
    """1 where a reply with every concept of the reference has its other words too.

    Other numbers make it wrong ("6th rib" for "7th rib"); none of the other words, and it is neither.
    """
    ours, theirs = _others(reference), _others(reply)
    numbers, said = ({word for word in words if any(map(str.isdigit, word))} for words in (ours, theirs))
    if numbers and not numbers & said:
        return Verdict(0.0 if said else None, f"{min(numbers)} is not named")
    if ours - numbers and not (ours - numbers) & theirs:
        return Verdict(None, f"{min(ours - numbers)} is not named")
    return Verdict(1.0, "every concept agrees")


def _others(text: str) -> frozenset[str]:
    """The content words of a text outside the lexicon's concepts."""
    spoken = {word for m in mentions(text) for word in tokens(text[m.start : m.end])}
    return frozenset(word for word in tokens(text) if word not in spoken and word not in LIGHT)


def _related(key: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether one concept is a part of the other (the pons of the brain)."""
    return key[0] == other[0] and lexicon().related(lexicon().get(*key), lexicon().get(*other))


def _words(reference: str, reply: str) -> Verdict:
    if bool(DENIALS & set(tokens(reference))) != bool(DENIALS & set(tokens(reply))):
        return Verdict(0.0, "one of both denies")
    if contains(reply, reference):
        return Verdict(1.0, "contains the reference")
    f1 = overlap(reference, reply).f1
    return Verdict(float(f1 >= SAME_WORDS_F1), f"token F1 {f1:.2f}")
