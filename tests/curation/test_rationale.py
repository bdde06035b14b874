from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medpref.curation.draft import Draft, Refused
from medpref.curation.rationale import Counterfactual, Rationale
from medpref.curation.rationale_text import bearing, error_of, flip, render
from medpref.judging.agreement import Agreement
from medpref.schema import Example, Fact, ImageRef, OwnReply

from .studies import EFFUSION, context_of, train_split

KNOWN = {"pleural effusion": (EFFUSION,), "nodule": (Fact(finding="nodule", side="right", zone="upper", count=1),)}


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        (EFFUSION, "On the left there is a small pleural effusion."),
        (Fact(finding="nodule", side="both", count=3), "On both sides there are three nodules."),
        (Fact(finding="atelectasis", side="left", zone="lower"), "In the left lower zone there is atelectasis."),
        (Fact(finding="cardiomegaly", severity="mild"), "There is mild cardiomegaly."),
        (
            Fact(finding="nodule", present=False, side="either", zone="any"),
            "In any zone on either side there is no nodule.",
        ),
        (Fact(finding="support device", sign="pacemaker"), "There is a pacemaker."),
        (Fact(finding="ground-glass opacities"), "There are ground-glass opacities."),
        (Fact(finding="ground-glass opacities", present=False), "There are no ground-glass opacities."),
        (
            Fact(finding="pleural effusion", side="right", sign="blunting of the angle"),
            "On the right there is blunting of the angle, consistent with a pleural effusion.",
        ),
    ],
)
def test_a_fact_as_a_sentence(fact: Fact, sentence: str) -> None:
    assert render([fact], "Yes.") == f"Yes. {sentence}"
    assert render([fact], "Yes", "last") == f"{sentence} The answer is yes."


@pytest.mark.parametrize(
    ("place", "answer", "after", "error"),
    [
        (0, "No", Fact(finding="pleural effusion", present=False, side="either"), "presence"),
        (2, "Right", EFFUSION.model_copy(update={"side": "right"}), "side"),
        (2, "None", Fact(finding="pleural effusion", present=False, side="either"), "presence"),
        (3, "Large", EFFUSION.model_copy(update={"severity": "large"}), "severity"),
        (5, "Nodule", KNOWN["nodule"][0], "finding"),
    ],
)
def test_one_fact_is_flipped_to_fit_the_wrong_answer(
    place: int, answer: str, after: Fact, error: str, tmp_path
) -> None:
    example = train_split(tmp_path, patients=1)[place]
    facts = bearing(example, KNOWN)
    assert facts == (EFFUSION,)
    flipped = flip(facts, example, answer, known=KNOWN, rng=np.random.default_rng(0))
    if error == "finding":
        assert flipped is not None
        assert flipped[0].finding == "nodule"
    else:
        assert flipped == (after,)
    assert error_of(facts, flipped) == error


def test_an_answer_that_one_fact_cannot_carry_is_refused(tmp_path) -> None:
    example = train_split(tmp_path, patients=1)[5]
    two = (EFFUSION, Fact(finding="cardiomegaly"))
    assert flip(two, example, "Nodule and fracture", known=KNOWN, rng=np.random.default_rng(0)) is None


def test_pairs_of_rationales_share_their_skeleton(tmp_path: Path) -> None:
    examples = train_split(tmp_path)
    context = context_of(examples, tmp_path)
    made = 0
    for example in examples:
        chosen = Rationale().write(example, context, role="chosen", other=None)
        if isinstance(chosen, Refused):
            continue
        rejected = Counterfactual().write(example, context, role="rejected", other=chosen)
        if isinstance(rejected, Refused):
            continue
        made += 1
        right, wrong = chosen.replies["chosen"].text, rejected.replies["rejected"].text
        assert Agreement().judge(example, right).value == 1.0
        assert Agreement().judge(example, wrong).value == 0.0
        assert abs(len(right.split()) - len(wrong.split())) <= max(2, 0.15 * len(right.split()))
        assert len(rejected.notes["flipped"]) == 1
    assert made >= 9


def test_the_policys_own_wrong_answer_ends_the_counterfactual(tmp_path: Path) -> None:
    examples = train_split(tmp_path)
    context = context_of(examples, tmp_path)
    chosen = Rationale().write(examples[2], context, role="chosen", other=None)
    assert isinstance(chosen, Draft)
    rejected = Counterfactual().write(examples[2], context, role="rejected", other=chosen)
    assert isinstance(rejected, Draft)
    assert rejected.replies["rejected"].text == "Right. On the right there is a small pleural effusion."
    assert rejected.notes["made_by"] == "policy"


def test_questions_that_no_fact_bears_on_have_no_rationale(tmp_path: Path) -> None:
    examples = train_split(tmp_path, patients=1)
    made = Rationale().write(examples[6], context_of(examples, tmp_path), role="chosen", other=None)
    assert isinstance(made, Refused)


def test_facts_that_contradict_the_answer_are_not_a_rationale(tmp_path: Path) -> None:
    examples = train_split(tmp_path, patients=1)
    odd = examples[2].model_copy(update={"answer": "Right"})
    made = Rationale().write(odd, context_of(examples, tmp_path), role="chosen", other=None)
    assert isinstance(made, Refused)
    assert "do not support" in made.reason


GROWN = EFFUSION.model_copy(update={"severity": "large", "side": "right"})
GONE = Fact(finding="pleural effusion", present=False)


def example_of(kind: str, question: str, answer: str, *, facts: tuple[Fact, ...], choices: Any = ()) -> Example:
    images = tuple(ImageRef(path=f"{name}.png", sha256=name * 64) for name in "ab"[: 2 if kind == "compare" else 1])
    return Example(
        id="x", patient="x", images=images, question=question, answer=answer, split="train", kind=kind,
        choices=choices, answer_type="closed" if choices else "open", facts=facts,
    )  # fmt: skip


def comparison(answer: str, first: Fact, second: Fact) -> Example:
    facts = tuple(fact.model_copy(update={"image": index}) for index, fact in enumerate((first, second)))
    other = Fact(finding="nodule", image=1)
    question = "Is the pleural effusion better, worse or unchanged?"
    return example_of("compare", question, answer, facts=(*facts, other), choices=("better", "unchanged", "worse"))


SMALL_LEFT = "on the left there is a small pleural effusion"
LARGE_RIGHT = "on the right there is a large pleural effusion"
NO_MORE = "on either side there is no pleural effusion"


@pytest.mark.parametrize(
    ("answer", "first", "second", "text"),
    [
        ("Worse", EFFUSION, GROWN, f"Worse. In the first image, {SMALL_LEFT}. In the second image, {LARGE_RIGHT}."),
        ("Better", EFFUSION, GONE, f"Better. In the first image, {SMALL_LEFT}. In the second image, {NO_MORE}."),
        ("Unchanged", GONE, GONE, f"Unchanged. In the first image, {NO_MORE}. In the second image, {NO_MORE}."),
        ("Better", EFFUSION, GROWN, "no fact bears on this question"),
        ("Worse", EFFUSION, Fact(finding="pleural effusion"), "no fact bears on this question"),
    ],
)
def test_a_comparisons_rationale_says_what_either_image_shows(answer, first, second, text, tmp_path) -> None:
    example = comparison(answer, first, second)
    made = Rationale().write(example, context_of([*train_split(tmp_path)], tmp_path), role="chosen", other=None)
    assert (made.reason if isinstance(made, Refused) else made.replies["chosen"].text) == text
    lacking = example.model_copy(update={"facts": example.facts[1:]})
    assert bearing(lacking, KNOWN) == ()


@pytest.mark.parametrize("own", ["Worse", "Worse. In the second image there is more.", "unsure", ""])
def test_a_comparisons_counterfactual_turns_the_fact_of_one_image(own: str, tmp_path: Path) -> None:
    example = comparison("Better", GROWN, EFFUSION)
    severities = [EFFUSION.model_copy(update={"severity": word}) for word in ("small", "moderate", "large")]
    context = context_of(train_split(tmp_path), tmp_path)
    known = {"pleural effusion": tuple(severities)}
    context = replace(context, own={"x": OwnReply(example="x", text=own)}, facts=known)
    chosen = Rationale().write(example, context, role="chosen", other=None)
    assert isinstance(chosen, Draft)
    for heads in ("reply", "first_sentence"):
        rejected = Counterfactual(own=heads).write(example, context, role="rejected", other=chosen)
        assert isinstance(rejected, Draft)
        answer, first, second = rejected.replies["rejected"].text.split(". ")
        assert answer in ("Worse", "Unchanged")
        changed = [first != f"In the first image, {LARGE_RIGHT}", second != f"In the second image, {SMALL_LEFT}."]
        assert sum(changed) == 1
        assert len(rejected.notes["flipped"]) == 1
        mine = own == "Worse" or (own.startswith("Worse.") and heads == "first_sentence")
        assert (rejected.notes["made_by"] == "policy") == mine
        assert not mine or answer == "Worse"


NODULE = Fact(finding="nodule", side="left", zone="upper", severity="small", count=2)


@pytest.mark.parametrize(
    ("question", "answer", "facts", "wrong", "text", "turned"),
    [
        (
            "What is in the box?", "Nodule", (NODULE, EFFUSION), "No abnormality",
            "Nodule. In the boxed area there is a small nodule.", "In the boxed area there is no abnormality.",
        ),
        (
            "Is there a nodule in the box?", "No", (NODULE,), "Yes",
            "No. In the boxed area there is no nodule.", "In the boxed area there is a nodule.",
        ),
        (
            "Is there a nodule in the box?", "Yes", (NODULE,), "No",
            "Yes. In the boxed area there is a small nodule.", "In the boxed area there is no nodule.",
        ),
        (
            "What does it show?", "No abnormality", (EFFUSION,), "Nodule",
            "No abnormality. In the boxed area there is no abnormality.", "In the boxed area there is a nodule.",
        ),
        ("What is in the box?", "Spleen", (EFFUSION,), "Liver", "no fact bears on this question", ""),
    ],
)  # fmt: skip
def test_a_boxed_area_is_spoken_of_as_such(question, answer, facts, wrong, text, turned, tmp_path: Path) -> None:
    choices = ("yes", "no") if answer in ("Yes", "No") else ()
    example = example_of("region", question, answer, facts=facts, choices=choices)
    made = Rationale().write(example, context_of(train_split(tmp_path), tmp_path), role="chosen", other=None)
    assert (made.reason if isinstance(made, Refused) else made.replies["chosen"].text) == text
    if turned:
        flipped = flip(bearing(example, KNOWN), example, wrong, known=KNOWN, rng=np.random.default_rng(0))
        assert flipped is not None
        assert render(flipped, wrong) == f"{wrong}. {turned}"
