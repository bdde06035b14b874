"""Writers of rationales and of their counterfactuals: the same skeleton with one clinical fact flipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from medpref.curation.chat_hallucinate import hallucinate
from medpref.curation.chat_rationale import CounterfactualRationale, counterfactual, factual, sentences_of
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.falsify import falsify
from medpref.curation.rationale_text import Order, bearing, error_of, flip, render
from medpref.curation.write import Sample, replies_of
from medpref.judging.agreement import Agreement
from medpref.language.answers import normalise
from medpref.language.findings import sentences
from medpref.language.wording import styled
from medpref.registry import WRITERS
from medpref.schema import CHOSEN, Example, Fact, Frozen, Reply

LENGTH_SHARE, LENGTH_WORDS = 0.15, 2
OWN_WORDS = 3
Own = Literal["reply", "first_sentence"]


@WRITERS.add
class Rationale(Frozen):
    """The reference with a rationale from the facts that bear on the question; the answer comes first or last.

    ``by: chat``: the bound language model puts the facts into words.
    """

    kind: Literal["rationale"] = "rationale"
    both: ClassVar[bool] = False
    by: Literal["rules", "chat"] = "rules"
    answer: Order = "first"

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        facts = bearing(example, context.facts)
        if not facts:
            return Refused("no fact bears on this question")
        text, told = render(facts, example.answer, self.answer), {}
        if self.by == "chat":
            written = factual(example, facts, self.answer, context)
            if isinstance(written, Refused):
                return written
            text, told = written[0], {f"chat_{role}": written[1]}
        if Agreement().judge(example, text).value != 1.0:
            return Refused("the facts do not support the reference")
        notes = {"facts": [fact.model_dump(mode="json") for fact in facts], "order": self.answer}
        author = "chat" if self.by == "chat" else "rationale"
        return Draft({role: Reply(text=text, author=author)}, {"rationale": notes, **told})


@WRITERS.add
class Counterfactual(Frozen):
    """The chosen reply with one fact flipped, and the wrong answer that follows.

    Of a rationale: the policy's own wrong answer where one flipped fact supports it, else a written one; the length
    stays within 15 % (two words at least). Of another reply: a rule-based wrong variant. ``by: chat``: the bound
    language model writes it; of a rationale it is asked to end in the policy's own wrong answer. A policy that was
    taught to answer with rationales gives its answer in its reply's first sentence (``own: first_sentence``).
    """

    kind: Literal["counterfactual"] = "counterfactual"
    both: ClassVar[bool] = False
    by: Literal["rules", "chat"] = "rules"
    own: Own = "reply"

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        if other is None:
            return Refused("there is no chosen reply to flip a fact of")
        chosen, notes = other.replies[CHOSEN].text, other.notes.get("rationale")
        if self.by == "chat" and notes is None:
            return hallucinate(example, chosen, (), context, role=role)
        if self.by == "chat":
            return self._by_chat(example, context, role=role, other=other)
        if notes is None:
            made = falsify(example, chosen, context, purpose="counterfactual")
            if made is None:
                return Refused("no plausible wrong reply")
            by = {"error": made.error, "made_by": made.author}
            return Draft({role: Reply(text=made.text, author=made.author)}, by)
        found = _flipped(example, context, notes, own=self.own)
        if found is None:
            return Refused("no wrong answer follows from flipping one fact")
        answer, source, facts, changed = found
        text = render(changed, answer, notes["order"])
        told = [new.model_dump(mode="json") for old, new in zip(facts, changed, strict=True) if old != new]
        notes = {"error": error_of(facts, changed), "made_by": source, "flipped": told}
        return Draft({role: Reply(text=text, author="counterfactual")}, notes)

    def _by_chat(self, example: Example, context: Context, *, role: str, other: Draft) -> Draft | Refused:
        notes = other.notes["rationale"]
        own = [text for text, source in _wrong_answers(example, context, self.own) if source == "policy"]
        return counterfactual(
            example,
            other.replies[CHOSEN].text,
            context,
            role=role,
            order=notes["order"],
            wrong=own[0] if own else None,
            rule=lambda: _as_form(_flipped(example, context, notes, own=self.own)),
            sound=_sound,
        )


Flipped = tuple[str, str, list[Fact], tuple[Fact, ...]]


def _flipped(example: Example, context: Context, notes: Mapping[str, Any], *, own: Own) -> Flipped | None:
    """A wrong answer, who made it, the facts, and the facts of which one is flipped so that they support it."""
    facts = [Fact.model_validate(fact) for fact in notes["facts"]]
    chosen, rng = render(facts, example.answer, notes["order"]), context.rng("flip", example)
    for answer, source in _wrong_answers(example, context, own):
        changed = flip(facts, example, answer, known=context.facts, rng=rng)
        if changed and _sound(example, chosen, render(changed, answer, notes["order"])):
            return answer, source, facts, changed
    return None


def _as_form(found: Flipped | None) -> CounterfactualRationale | None:
    if found is None:
        return None
    return CounterfactualRationale(answer=found[0], rationale=sentences_of(found[3]), changed=error_of(*found[2:]))


def _wrong_answers(example: Example, context: Context, own: Own) -> Iterator[tuple[str, str]]:
    """The policy's own wrong answers, then a written one (of a comparison every other), each with who made it."""
    for reply in replies_of(Sample(), example, context):
        start, end = sentences(reply)[0] if own == "first_sentence" else (0, len(reply))
        text = styled(reply[start:end], like=example.answer)
        short = len(text.split()) <= len(example.answer.split()) + OWN_WORDS
        if short and Agreement().judge(example, text).value == 0.0:
            yield text, "policy"
    made = falsify(example, example.answer, context, purpose="counterfactual")
    if made is not None:
        yield made.text, made.author
    for choice in example.choices if example.kind == "compare" else ():
        if normalise(choice) not in (normalise(example.answer), normalise(made.text if made else "")):
            yield styled(choice, like=example.answer), "choice"


def _sound(example: Example, chosen: str, text: str) -> bool:
    """Whether a counterfactual disagrees with the reference and is as long as the rationale."""
    ours, theirs = len(text.split()), len(chosen.split())
    alike = abs(ours - theirs) <= max(LENGTH_WORDS, LENGTH_SHARE * theirs)
    return alike and Agreement().judge(example, text).value == 0.0
