from pathlib import Path

import numpy as np
import pytest

from medpref.curation.draft import Draft, Refused
from medpref.curation.rationale import Counterfactual, Rationale
from medpref.curation.rationale_text import bearing, error_of, flip, render
from medpref.judging.agreement import Agreement
from medpref.schema import Fact

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
