"""CheXPO's rationales by a language model: a factual one from an example's facts, and one with a single fact flipped.

What it writes is read finding by finding against the facts: nothing unsupported in the factual one, exactly one
statement changed in the counterfactual.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from medpref.curation.chat_ask import ask_form
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.rationale_text import Order, render
from medpref.language.answers import normalise
from medpref.language.findings import Statement, sentences, statements
from medpref.schema import Example, Fact, Frozen, Reply

WORDS_A_FACT = 30
DEGREES = {"size": "severity"}  # both are a finding's degree
IMAGE = re.compile(r"\b(first|second)\s+(?:image|film|study)\b", re.IGNORECASE)


class FactualRationale(Frozen):
    """Sentences that lead to the answer."""

    rationale: str


class CounterfactualRationale(Frozen):
    """A wrong answer, the rationale that leads to it, and the fact that was changed."""

    answer: str
    rationale: str
    changed: str


def joined(answer: str, said: str, order: Order) -> str:
    """An answer and its rationale in the order of the rule-based path.

    >>> joined("Left", "In the left zone there is a nodule.", "last")
    'In the left zone there is a nodule. The answer is left.'
    """
    plain, said = answer.strip().rstrip("."), " ".join(said.split())
    return f"{plain}. {said}" if order == "first" else f"{said} The answer is {plain[:1].lower() + plain[1:]}."


def sentences_of(facts: Sequence[Fact]) -> str:
    """The facts in words, without an answer."""
    return render(facts, "x", "first").removeprefix("x. ")


def factual(example: Example, facts: Sequence[Fact], order: Order, context: Context) -> tuple[str, Any] | Refused:
    """The reference with a rationale that says what the facts say, and notes; Refused where it says more or less."""
    told = ask_form(
        "rationale",
        FactualRationale,
        example,
        context,
        lambda: FactualRationale(rationale=sentences_of(facts)),
        facts=[sentences_of([fact]) for fact in facts],
    )
    if isinstance(told, Refused):
        return told
    made, notes = told
    if not 1 <= len(made.rationale.split()) <= WORDS_A_FACT * len(facts):
        return Refused(f"rationale: {len(made.rationale.split())} words for {len(facts)} facts")
    text = joined(example.answer, made.rationale, order)
    complaint = unfounded(sentences_of(facts), made.rationale)
    if complaint:
        return Refused(f"rationale: {complaint}")
    return text, notes


def unfounded(facts: str, text: str) -> str | None:
    """What a rationale says that no fact says, or which fact it leaves out; None where it keeps to the facts."""
    known, said = by_image(facts), by_image(text)
    for image, one in said:
        about = [fact for shown, fact in known if shown == image]
        alike = [fact for fact in about if fact.finding == one.finding and fact.polarity == one.polarity]
        if not any(_attributes(one).items() <= _attributes(fact).items() for fact in alike):
            told = ", ".join([one.polarity, *one.attributes.values()])
            return f"it says {one.finding} ({told}), which no fact says"
    left = {(fact.finding, image) for image, fact in known} - {(one.finding, image) for image, one in said}
    return f"it leaves out {', '.join(sorted({finding for finding, _ in left}))}" if left else None


def by_image(text: str) -> list[tuple[str, Statement]]:
    """Every statement with the image of which it is said (first, second); "" where the text speaks of none.

    >>> [image for image, _ in by_image("In the first image there is a nodule. In the second image there is none.")]
    ['first']
    """
    if IMAGE.search(text) is None:
        return [("", one) for one in statements(text)]
    found, image = [], ""
    for start, end in sentences(text):
        named = sorted({name.lower() for name in IMAGE.findall(text[start:end])})
        image = " and ".join(named) or image
        found += [(image, one) for one in statements(text[start:end])]
    return found


def counterfactual(
    example: Example,
    chosen: str,
    context: Context,
    *,
    role: str,
    order: Order,
    wrong: str | None,
    rule: Callable[[], CounterfactualRationale | None],
    sound: Callable[[Example, str, str], bool],
) -> Draft | Refused:
    """The draft of the chosen rationale with one fact flipped, if it can be so that it ends in the answer ``wrong``.

    ``sound`` is the rule-based path's check of the whole text: it disagrees with the reference and is as long.
    """
    said = chosen.removeprefix(example.answer.strip().rstrip(".") + ". ")
    said = said if order == "first" else said.rpartition(" The answer is ")[0]
    told = ask_form("counterfactual", CounterfactualRationale, example, context, rule, rationale=said, wrong=wrong)
    if isinstance(told, Refused):
        return told
    made, notes = told
    text = joined(made.answer, made.rationale, order)
    if not sound(example, chosen, text):
        return Refused("counterfactual: it is not wrong, or not as long as the rationale")
    error = flipped(said, made.rationale)
    if error is None:
        return Refused("counterfactual: not exactly one fact was changed")
    source = "policy" if wrong is not None and normalise(made.answer) == normalise(wrong) else "chat"
    told_by = {"error": error, "made_by": source, f"chat_{role}": {**notes, "changed": made.changed}}
    return Draft({role: Reply(text=text, author="chat")}, told_by)


def flipped(before: str, after: str) -> str | None:
    """The type of the one statement in which two rationales differ; None where they differ in none or several.

    A finding exchanged for another, or denied instead of stated, counts once, whatever else is said of it.
    """
    ours, theirs = _read(before), _read(after)
    lost, new = [name for name in ours if name not in theirs], [name for name in theirs if name not in ours]
    errors = ["finding" if lost and new else "presence"] * max(len(lost), len(new))
    for name in ours.keys() & theirs.keys():
        (polarity, said), (other, told) = ours[name], theirs[name]
        kinds = [kind for kind in sorted(said.keys() | told.keys()) if said.get(kind) != told.get(kind)]
        errors += ["presence"] if polarity != other else kinds
    return errors[0] if len(errors) == 1 else None


def _read(text: str) -> dict[tuple[str, str], tuple[str, dict[str, str]]]:
    """Polarity and attributes of each finding of an image, as first said."""
    read: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
    for image, one in by_image(text):
        read.setdefault((one.finding, image), (one.polarity, _attributes(one)))
    return read


def _attributes(one: Statement) -> dict[str, str]:
    return {DEGREES.get(kind, kind): value for kind, value in one.attributes.items()}
