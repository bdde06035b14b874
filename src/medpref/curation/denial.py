"""The reply that becomes right when the finding asked about is painted away: no, or none.

Knows: what the question names, which findings the regions show, how the data say that there is nothing. Does not know:
the image, or whether the corruption that goes with it leaves a trace.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.falsify import NOTHING, is_wrong, put_choice
from medpref.curation.pool import donor_key
from medpref.judging.exact import closed_choices
from medpref.language.answers import is_yes_no, normalise, parse_closed
from medpref.language.findings import mentions
from medpref.language.lexicon import Concept
from medpref.language.presence import flip_decision
from medpref.language.rewrite import replace
from medpref.language.wording import styled
from medpref.registry import WRITERS
from medpref.schema import Example, Frozen, Reply

SHOWN = ("finding", "device")


@WRITERS.add
class Denial(Frozen):
    """What is right of the erased film: No for a right Yes, None for a right side, place, degree or number.

    Only of a question whose findings are what the regions are labelled with, all of them and nothing else, so that a
    corruption of the regions takes away what is asked about alone; refused of reports, of answers that deny already,
    and where neither the choices nor other answers of the question's kind say none.
    """

    kind: Literal["denial"] = "denial"
    both: ClassVar[bool] = False

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        if example.answer_type == "report":
            return Refused("a report says more than one finding")
        shown = erasable(example)
        if not shown:
            return Refused("the regions do not show what the question asks about, or more than that")
        right = other.replies["chosen"].text if other else example.answer
        text = _denied(example, right, context)
        if text is None or not is_wrong(example, text, like=right):
            return Refused("nothing to deny, or no words for it")
        notes = {"error": "presence", "made_by": self.kind, "denied": sorted(one.name for one in shown)}
        return Draft({role: Reply(text=text, author=self.kind)}, notes)


def erasable(example: Example) -> frozenset[Concept]:
    """The findings that the question asks about, if each labels a region and no region shows anything else; else none.

    What a region without a finding in its label shows (an organ, or nobody said what) would be erased with them.
    """
    named = mentions(example.question, SHOWN)
    asked = frozenset(one.concept for one in named)
    shown = [frozenset(one.concept for one in mentions(region.label, SHOWN)) for region in example.regions]
    affirmed = all(one.polarity != "absent" for one in named)
    alone = all(concepts and concepts <= asked for concepts in shown)
    return asked if affirmed and alone and asked <= frozenset().union(*shown) else frozenset()


def _denied(example: Example, right: str, context: Context) -> str | None:
    """The denial in the words of the right reply, of the choices, or of other answers of the question's kind."""
    choices = closed_choices(example)
    if choices is None:
        lent = context.donors.get(donor_key(example), ())
        none = next((one for one in lent if normalise(one) in NOTHING), None)
        return None if none is None or normalise(right) in NOTHING else styled(none, like=right)
    said = parse_closed(right, choices, example.question)
    if said is None:
        return None
    if not choices or is_yes_no(choices):
        turned = flip_decision(right, example.question) if normalise(said) == "yes" else ()
        return replace(right, turned) if turned else None
    none = next((one for one in choices if normalise(one) in NOTHING), None)
    return None if none is None or normalise(said) in NOTHING else put_choice(right, said, none)
