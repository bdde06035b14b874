"""Writers of rationales and of their counterfactuals: the same skeleton with one clinical fact flipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.falsify import falsify
from medpref.curation.rationale_text import Order, bearing, error_of, flip, render
from medpref.curation.write import Sample, replies_of
from medpref.judging.agreement import Agreement
from medpref.language.wording import styled
from medpref.registry import WRITERS
from medpref.schema import CHOSEN, Example, Fact, Frozen, Reply

LENGTH_SHARE, LENGTH_WORDS = 0.15, 2
OWN_WORDS = 3


@WRITERS.add
class Rationale(Frozen):
    """The reference with a rationale from the facts that bear on the question; the answer comes first or last."""

    kind: Literal["rationale"] = "rationale"
    both: ClassVar[bool] = False
    answer: Order = "first"

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        facts = bearing(example, context.facts)
        if not facts:
            return Refused("no fact bears on this question")
        text = render(facts, example.answer, self.answer)
        if Agreement().judge(example, text).value != 1.0:
            return Refused("the facts do not support the reference")
        notes = {"facts": [fact.model_dump(mode="json") for fact in facts], "order": self.answer}
        return Draft({role: Reply(text=text, author="rationale")}, {"rationale": notes})


@WRITERS.add
class Counterfactual(Frozen):
    """The chosen reply with one fact flipped, and the wrong answer that follows.

    Of a rationale: the policy's own wrong answer where one flipped fact supports it, else a written one; the length
    stays within 15 % (two words at least). Of another reply: a rule-based wrong variant.
    """

    kind: Literal["counterfactual"] = "counterfactual"
    both: ClassVar[bool] = False

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        if other is None:
            return Refused("there is no chosen reply to flip a fact of")
        chosen, notes = other.replies[CHOSEN].text, other.notes.get("rationale")
        if notes is None:
            made = falsify(example, chosen, context, purpose="counterfactual")
            if made is None:
                return Refused("no plausible wrong reply")
            found = {"error": made.error, "made_by": made.author}
            return Draft({role: Reply(text=made.text, author=made.author)}, found)
        facts = [Fact.model_validate(fact) for fact in notes["facts"]]
        rng = context.rng("flip", example)
        for answer, source in _wrong_answers(example, context):
            flipped = flip(facts, example, answer, known=context.facts, rng=rng)
            text = render(flipped, answer, notes["order"]) if flipped else ""
            if flipped and _sound(example, chosen, text):
                changed = [new.model_dump(mode="json") for old, new in zip(facts, flipped, strict=True) if old != new]
                told = {"error": error_of(facts, flipped), "made_by": source, "flipped": changed}
                return Draft({role: Reply(text=text, author="counterfactual")}, told)
        return Refused("no wrong answer follows from flipping one fact")


def _wrong_answers(example: Example, context: Context) -> Iterator[tuple[str, str]]:
    """The policy's own wrong answers, then a written one, each with who made it."""
    for own in replies_of(Sample(), example, context):
        text = styled(own, like=example.answer)
        short = len(text.split()) <= len(example.answer.split()) + OWN_WORDS
        if short and Agreement().judge(example, text).value == 0.0:
            yield text, "policy"
    made = falsify(example, example.answer, context, purpose="counterfactual")
    if made is not None:
        yield made.text, made.author


def _sound(example: Example, chosen: str, text: str) -> bool:
    """Whether a counterfactual disagrees with the reference and is as long as the rationale."""
    ours, theirs = len(text.split()), len(chosen.split())
    alike = abs(ours - theirs) <= max(LENGTH_WORDS, LENGTH_SHARE * theirs)
    return alike and Agreement().judge(example, text).value == 0.0
