from pathlib import Path

import pytest

from medpref.curation.clause import clause
from medpref.curation.draft import Draft, Refused
from medpref.curation.falsify import alike_in_length, falsify, is_wrong
from medpref.curation.neighbour import Neighbour, near_map
from medpref.curation.revise import Correct, unsound
from medpref.curation.write import Hallucinate, Reference, Sample, Targeted
from medpref.judging.agreement import Agreement
from medpref.language.diff import outside, spans
from medpref.schema import Example

from .studies import ASKED, context_of, train_split


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    return train_split(tmp_path)


def text_of(draft, name: str = "rejected") -> str:
    assert isinstance(draft, Draft), draft
    return draft.replies[name].text


def test_the_reference_writes_the_answer(examples, tmp_path) -> None:
    draft = Reference().write(examples[0], context_of(examples, tmp_path), role="chosen", other=None)
    assert text_of(draft, "chosen") == "Yes"


def test_sample_at_temperature_0_is_the_greedy_reply_and_missing_is_refused(examples, tmp_path) -> None:
    context = context_of(examples, tmp_path)
    assert text_of(Sample().write(examples[0], context, role="rejected", other=None)) == "No"
    nothing = context_of(examples, tmp_path, own=False)
    assert isinstance(Sample().write(examples[0], nothing, role="rejected", other=None), Refused)


@pytest.mark.parametrize("place", range(len(ASKED)))
def test_a_hallucination_is_wrong_alike_and_without_the_reference(place: int, examples, tmp_path) -> None:
    example = examples[place]
    for own in (True, False):
        for seed in range(4):
            context = context_of(examples, tmp_path, seed=seed, own=own)
            draft = Hallucinate().write(example, context, role="rejected", other=None)
            text = text_of(draft)
            assert Agreement().judge(example, text).value == 0.0
            assert alike_in_length(text, example.answer)
            assert text[:1].isupper() == example.answer[:1].isupper()
            assert text.endswith(".") == example.answer.endswith(".")
            assert draft.notes["error"]


def test_the_policys_own_error_is_preferred_over_a_written_one(examples, tmp_path) -> None:
    draft = Hallucinate().write(examples[2], context_of(examples, tmp_path), role="rejected", other=None)
    assert (text_of(draft), draft.notes["made_by"]) == ("Right", "policy")
    unlike = {**context_of(examples, tmp_path).own}
    unlike[examples[2].id] = unlike[examples[2].id].model_copy(
        update={"text": "I think that it may well be on the right"}
    )
    context = context_of(examples, tmp_path)
    context = type(context)(**{**context.__dict__, "own": unlike})
    draft = Hallucinate().write(examples[2], context, role="rejected", other=None)
    assert draft.notes["made_by"] != "policy"


def test_writing_is_pure_in_example_and_seed(examples, tmp_path) -> None:
    def made(seed: int, order: list[Example]) -> dict[str, str]:
        context = context_of(examples, tmp_path, seed=seed, own=False)
        return {one.id: falsify(one, one.answer, context, purpose="x").text for one in order}

    assert made(1, examples) == made(1, examples[::-1])
    assert made(1, examples) != made(2, examples)


def test_a_reference_that_does_not_decide_gets_no_hallucination(examples, tmp_path) -> None:
    unsure = examples[5].model_copy(update={"answer": "Not sure"})
    assert falsify(unsure, "Not sure", context_of(examples, tmp_path), purpose="x") is None


def test_wrong_must_not_contain_the_reference(examples) -> None:
    assert not is_wrong(examples[5], "No pleural effusion", like="Pleural effusion")
    assert is_wrong(examples[5], "Atelectasis", like="Pleural effusion")


@pytest.mark.parametrize(
    ("place", "error", "expected"),
    [
        (2, "side", {"Right"}),
        (6, "plane", {"AP", "Lateral"}),
        (0, "presence", {"No"}),
        (5, "finding", {"Atelectasis", "Pneumothorax", "Consolidation"}),
        (4, "count", {"One", "Three"}),
        (3, "size", {"Large"}),
    ],
)
def test_a_targeted_error_is_of_its_type(place: int, error: str, expected: set[str], examples, tmp_path) -> None:
    draft = Targeted(error=error).write(examples[place], context_of(examples, tmp_path), role="rejected", other=None)
    assert text_of(draft) in expected
    assert draft.notes["error"] == error


def test_a_target_that_the_reply_does_not_hold_is_refused(examples, tmp_path) -> None:
    made = Targeted(error="plane").write(examples[0], context_of(examples, tmp_path), role="rejected", other=None)
    assert isinstance(made, Refused)
    assert "plane" in made.reason


@pytest.mark.parametrize("place", range(len(ASKED)))
def test_correct_is_right_wrong_and_equal_outside_its_spans(place: int, examples, tmp_path) -> None:
    example, own = examples[place], ASKED[place][-1]
    draft = Correct().write(example, context_of(examples, tmp_path), role="chosen", other=None)
    chosen, rejected = text_of(draft, "chosen"), text_of(draft)
    right = Agreement().judge(example, own).value == 1.0
    assert (chosen if right else rejected) == own
    assert draft.notes["own_was_right"] is right
    assert unsound(example, chosen, rejected) is None
    ours, theirs = spans(chosen, rejected)
    assert outside(chosen, ours) == outside(rejected, theirs)


@pytest.mark.parametrize(
    ("place", "own", "chosen"),
    [
        (0, "No, there is no pleural effusion.", "Yes, there is a pleural effusion."),
        (2, "The effusion is on the right side.", "The effusion is on the left side."),
        (6, "This is an AP film.", "This is a PA film."),
        (5, "The film shows atelectasis.", "The film shows pleural effusion."),
        (4, "There are three nodules. They are round.", "There are two nodules."),
        (8, "The heart is severely enlarged. There is no pleural effusion. No pneumothorax.", None),
        (7, "Nothing of note can be said about this particular picture", None),
    ],
)
def test_a_wrong_sentence_is_righted_by_a_few_words(
    place: int, own: str, chosen: str | None, examples, tmp_path
) -> None:
    context = context_of(examples, tmp_path)
    reply = context.own[examples[place].id].model_copy(update={"text": own})
    context = type(context)(**{**context.__dict__, "own": {examples[place].id: reply}})
    made = Correct().write(examples[place], context, role="chosen", other=None)
    if chosen is not None:
        assert text_of(made, "chosen") == chosen
        assert text_of(made) in own
    elif isinstance(made, Draft):
        assert Agreement().judge(examples[place], text_of(made, "chosen")).value == 1.0


def test_the_clause_that_answers(examples) -> None:
    assert clause(examples[0], "The film is PA. There is no effusion; it is clear. Bye.") == "There is no effusion."
    assert clause(examples[0], "No. There is no effusion. Bye.") == "No. There is no effusion."
    assert clause(examples[8], "One. Two.") == "One. Two."


def test_a_neighbour_lends_the_answer_of_the_nearest_other_patient(tmp_path) -> None:
    examples = train_split(tmp_path, patients=4)
    sides = ("Left", "Right", "Both", "Right")
    asked = [
        one.model_copy(update={"answer": side}) for one, side in zip(examples[2 :: len(ASKED)], sides, strict=True)
    ]
    context = context_of(asked, tmp_path, own=False)
    near = near_map(asked, context, k=3, index="exact")
    context = type(context)(**{**context.__dict__, "near": near})
    draft = Neighbour().write(asked[0], context, role="rejected", other=None)
    lender = next(one for one in asked if one.id == draft.notes["neighbour"]["example"])
    assert text_of(draft) == lender.answer != asked[0].answer
    assert all(name != asked[0].id for name, _ in near[asked[0].id])
    alone = type(context)(**{**context.__dict__, "near": {}})
    assert isinstance(Neighbour().write(asked[0], alone, role="rejected", other=None), Refused)
