"""CheXPO's rationales by a language model: a factual one from an example's facts, and one with a single fact flipped.

What it writes is read finding by finding against the facts: nothing unsupported in the factual one, exactly one
statement changed in the counterfactual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from medpref.curation.chat_ask import ask_form
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.rationale_text import Order, render
from medpref.judging.findings import Comparison, compare
from medpref.language.answers import normalise
from medpref.schema import Example, Fact, Frozen, Reply

WORDS_A_FACT = 30


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
    found = compare(sentences_of(facts), made.rationale)
    for name in ("contradicted", "unsupported", "altered", "missing"):
        if getattr(found, name):
            return Refused(f"rationale: not what the facts say: {name} {', '.join(getattr(found, name))}")
    return text, notes


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
    """The draft of the chosen rationale with one fact flipped; ``wrong`` is the answer it must end in, if there is one.

    ``sound`` is the rule-based path's check of the whole text: it disagrees with the reference and is as long.
    """
    said = chosen.removeprefix(example.answer.strip().rstrip(".") + ". ")
    said = said if order == "first" else said.rpartition(" The answer is ")[0]
    told = ask_form("counterfactual", CounterfactualRationale, example, context, rule, rationale=said, wrong=wrong)
    if isinstance(told, Refused):
        return told
    made, notes = told
    if wrong is not None and normalise(made.answer) != normalise(wrong):
        return Refused("counterfactual: it ends in another answer than the policy's")
    text = joined(made.answer, made.rationale, order)
    if not sound(example, chosen, text):
        return Refused("counterfactual: it is not wrong, or not as long as the rationale")
    error = flipped(compare(said, made.rationale))
    if error is None:
        return Refused("counterfactual: not exactly one fact was changed")
    source = "policy" if wrong is not None else "chat"
    told_by = {"error": error, "made_by": source, f"chat_{role}": {**notes, "changed": made.changed}}
    return Draft({role: Reply(text=text, author="chat")}, told_by)


def flipped(found: Comparison) -> str | None:
    """The type of the one statement in which two rationales differ; None where they differ in none or several."""
    swapped = max(len(found.missing), len(found.unsupported))
    if len(found.contradicted) + len(found.altered) + swapped != 1:
        return None
    if found.altered:
        return found.altered[0].partition(": ")[2].split()[0]
    return "presence" if found.contradicted or not (found.missing and found.unsupported) else "finding"
