"""How much an error matters: how close it comes to the truth, and what it would lead to.

A lexicon stands in for MMedPO's medical language models (arXiv:2412.06141, 3.1): closeness = 1 / sqrt(rank among
the concept's confusable partners), consequence by type of error (``lexicon.yaml``). It has no knowledge of the patient.
"""

from __future__ import annotations

from typing import Literal

from medpref.judging.agreement import Agreement
from medpref.judging.exact import closed_choices
from medpref.judging.findings import compare
from medpref.language.answers import is_yes_no, normalise, parse_closed
from medpref.language.findings import Mention, mentions
from medpref.language.lexicon import lexicon
from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict

FAR = 0.4  # closeness of what is not among the partners
NOTHING = frozenset({"none", "nothing", "no abnormality", "normal"})
KIND_TYPES = {
    "presence": "presence", "side": "side", "zone": "zone", "severity": "severity", "count": "count", "plane": "plane",
    "abnormality": "finding", "view": "plane", "device": "device", "modality": "modality", "organ": "organ",
}  # fmt: skip


@JUDGES.add
class Relevance(Frozen):
    """The clinical relevance of a wrong reply in [0, 1]: the largest of its errors' closeness x consequence.

    0 where the reply agrees with the reference: it is no error.
    """

    kind: Literal["relevance"] = "relevance"

    def judge(self, example: Example, reply: str) -> Verdict:
        if Agreement().judge(example, reply).value == 1.0:
            return Verdict(0.0, "no error: the reply agrees with the reference")
        errors = _report(example, reply) if example.answer_type == "report" else _answer(example, reply)
        if not errors:
            known = lexicon().consequence[asked(example)] if example.kind in KIND_TYPES else 1.0
            return Verdict(round(FAR * known, 4), "an error outside the lexicon")
        score, reason = max(errors)
        return Verdict(round(min(score, 1.0), 4), reason)


def _report(example: Example, reply: str) -> list[tuple[float, str]]:
    weigh, found = lexicon().consequence, compare(example.answer, reply)
    errors = [(weigh["presence"], f"{name} said the other way round") for name in found.contradicted]
    errors += [(weigh["presence"] * 0.9, f"{name} missed") for name in found.missing]
    errors += [(weigh["presence"] * 0.8, f"{name} unsupported") for name in found.unsupported]
    return errors + [(weigh[text.split(": ")[1].split()[0]], text) for text in found.altered]


def _answer(example: Example, reply: str) -> list[tuple[float, str]]:
    choices = closed_choices(example)
    if choices is not None and (not choices or is_yes_no(choices)) and parse_closed(reply, choices, example.question):
        kind = asked(example)
        return [(lexicon().consequence[kind], f"the opposite decision about {kind}")]
    if (normalise(example.answer) in NOTHING) != (normalise(reply) in NOTHING) and example.kind != "count":
        return [(lexicon().consequence["presence"], "something for nothing, or nothing for something")]
    ours = {(m.concept.type, m.concept.name): m for m in mentions(example.answer)}
    theirs = {(m.concept.type, m.concept.name): m for m in mentions(reply)}
    presence = lexicon().consequence["presence"]
    errors = [
        (presence, f"{key[1]} said the other way round")
        for key in ours
        if key in theirs and ours[key].polarity != theirs[key].polarity
    ]
    lost, new = [m for key, m in ours.items() if key not in theirs], [m for key, m in theirs.items() if key not in ours]
    return errors + [_error(one, other) for one in lost for other in new if one.concept.type == other.concept.type]


def _error(one: Mention, other: Mention) -> tuple[float, str]:
    partners = one.concept.swaps
    named = other.concept.name
    closeness = 1 / (1 + partners.index(named)) ** 0.5 if named in partners else FAR
    return closeness * lexicon().consequence[one.concept.type], f"{one.concept.name} for {named}"


def asked(example: Example) -> str:
    """The type of error that a wrong answer to this question is (a key of the lexicon's consequences)."""
    if example.kind in KIND_TYPES and example.kind != "presence":
        return KIND_TYPES[example.kind]
    named = {mention.concept.type for mention in mentions(example.question)}
    short = example.answer_type != "report"
    order = ("modality", "sequence", "contrast", "plane") if short and not named & {"finding", "device"} else ()
    return next((kind for kind in order if kind in named), "presence")
