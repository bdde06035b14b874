"""Writers that ask a language model: the rules' texts where it answers like them, a reason where a check fails."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from medpref.curation.chat_rationale import flipped, unfounded
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.falsify import error_of
from medpref.curation.rationale import Counterfactual, Rationale
from medpref.curation.revise import Correct
from medpref.curation.wrap import Phrases
from medpref.curation.write import Hallucinate
from medpref.models.chat import Roles
from medpref.models.chat_rules import Rules
from medpref.schema import Example, OwnReply, Reply

from .scripted import Scripted
from .studies import ASKED, REPORT, context_of, train_split


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chat")


@pytest.fixture(scope="module")
def examples(root: Path) -> list[Example]:
    return train_split(root)


def reference(example: Example) -> Draft:
    return Draft({"chosen": Reply(text=example.answer, author="reference")})


def texts(draft: Any) -> Any:
    return {name: reply.text for name, reply in draft.replies.items()} if isinstance(draft, Draft) else draft.reason


def told(context: Context, answer: dict[str, Any] | str, *, own: dict[str, str] | None = None) -> Context:
    """The context with a model that always gives this answer, and other own replies."""
    replies = {name: OwnReply(example=name, text=text) for name, text in (own or {}).items()}
    return dataclasses.replace(
        context, roles=Roles((Scripted(lambda request: answer),)), own={**context.own, **replies}
    )


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("writer", [Hallucinate, Correct])
def test_the_rules_behind_the_seam_write_what_the_rules_write(writer: Any, own: bool, examples, root) -> None:
    context = context_of(examples, root, own=own)
    asking = dataclasses.replace(context, roles=Roles((Rules(),)))
    for example in examples:
        plain = writer().write(example, context, role="rejected", other=reference(example))
        asked = writer(by="chat").write(example, asking, role="rejected", other=reference(example))
        if isinstance(plain, Draft):
            assert texts(asked) == texts(plain)
            finer = {"count": "presence", "view": "plane"}.get(example.kind)
            assert asked.notes["error"] in (plain.notes["error"], finer) or example.kind == "report"
        else:
            assert isinstance(asked, Refused)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("order", ["first", "last"])
def test_rationales_of_the_rules_behind_the_seam(order: Any, own: bool, examples, root) -> None:
    context = context_of(examples, root, own=own)
    asking = dataclasses.replace(context, roles=Roles((Rules(),)))
    written = 0
    for example in examples:
        plain = Rationale(answer=order).write(example, context, role="chosen", other=None)
        asked = Rationale(answer=order, by="chat").write(example, asking, role="chosen", other=None)
        assert texts(asked) == texts(plain)
        if isinstance(plain, Draft):
            one = Counterfactual().write(example, context, role="rejected", other=plain)
            two = Counterfactual(by="chat").write(example, asking, role="rejected", other=asked)
            assert texts(two) == texts(one)
            assert two.notes["error"] == one.notes["error"]
            assert two.notes["chat_rejected"]["model"] == "rules"
            written += 1
    assert written >= 10


def test_without_a_bound_model_there_is_no_pair(examples, root) -> None:
    draft = Hallucinate(by="chat").write(examples[0], context_of(examples, root), role="rejected", other=None)
    assert texts(draft) == "no language model is bound to the role judge"


SIDE, SEVERITY, OPEN, REPORTED = 2, 3, 5, 8


@pytest.mark.parametrize(
    ("place", "answer", "reason"),
    [
        (SIDE, "refused: no", "hallucinate: refused: no"),
        (SIDE, {"choice": 2, "text": "", "error": ""}, "hallucinate: candidate 2 was chosen of 1"),
        (SIDE, {"choice": 0, "text": " ", "error": ""}, "hallucinate: the wrong answer is empty"),
        (SIDE, {"choice": 0, "text": "left", "error": ""}, "hallucinate: the wrong answer is the reference"),
        (SIDE, {"choice": 0, "text": "on the left side", "error": ""}, "differs in length"),
        (SIDE, {"choice": 0, "text": "left lung", "error": ""}, "hallucinate: the wrong answer is not wrong"),
        (OPEN, {"choice": 0, "text": "no pleural effusion", "error": ""}, "contains the reference"),
    ],
)
def test_a_hallucination_that_fails_a_check_is_dropped_with_its_reason(place, answer, reason, examples, root) -> None:
    context = told(context_of(examples, root), answer)
    draft = Hallucinate(by="chat").write(examples[place], context, role="rejected", other=reference(examples[place]))
    assert isinstance(draft, Refused)
    assert reason in draft.reason


def test_a_written_hallucination_takes_the_style_of_the_right_answer_and_says_so(examples, root) -> None:
    context = told(context_of(examples, root), {"choice": 0, "text": "right lung.", "error": "wrong side"})
    draft = Hallucinate(by="chat").write(examples[SIDE], context, role="rejected", other=reference(examples[SIDE]))
    assert texts(draft) == {"rejected": "Right lung"}
    assert draft.replies["rejected"].author == draft.notes["made_by"] == "chat"
    assert draft.notes["error"] == "side"
    notes = draft.notes["chat_rejected"]
    assert notes["written"] == "right lung."
    assert notes["error"] == "wrong side"
    assert notes["model"] == "scripted"
    assert notes["prompt"].startswith("hallucinate@")
    assert len(notes["request"]) == 64


def test_the_prompt_holds_question_answer_candidates_and_no_example_of_another(examples, root) -> None:
    context = told(context_of(examples, root), "no")
    Hallucinate(by="chat").write(examples[SIDE], context, role="rejected", other=reference(examples[SIDE]))
    ((request,),) = context.roles.chats[0].calls
    for part in (examples[SIDE].question, "<correct>Left</correct>", 'number="1">Right<', "left | right | both | none"):
        assert part in request.prompt
    assert not request.credentialed
    secret = examples[SIDE].model_copy(update={"credentialed": True})
    Hallucinate(by="chat").write(secret, context, role="rejected", other=reference(secret))
    assert context.roles.chats[0].calls[-1][0].credentialed


ON_THE_LEFT = "The effusion is on the left side of the chest."
ON_THE_RIGHT = ON_THE_LEFT.replace("left", "right")
LONG = "The film shows a normal heart. The effusion is on the right side of the chest."


def correction(clause: str, right: bool, edited: str) -> dict[str, Any]:
    return {"clause": clause, "right": right, "edited": edited}


@pytest.mark.parametrize(
    ("place", "own", "answer", "expected"),
    [
        (
            SIDE, LONG,
            correction(ON_THE_RIGHT, False, ON_THE_LEFT),
            {"chosen": ON_THE_LEFT, "rejected": ON_THE_RIGHT},
        ),
        (SIDE, "Left", correction("Left", True, "Right"), {"chosen": "Left", "rejected": "Right"}),
        (
            REPORTED, REPORT.replace("left", "right"), correction("", False, REPORT),
            {"chosen": REPORT, "rejected": REPORT.replace("left", "right")},
        ),
        (SIDE, "Right", correction("right", False, "left"), "the clause does not stand in the policy's reply"),
        (SIDE, "Right", correction("", False, "left"), "the clause does not stand in the policy's reply"),
        (SIDE, "Right", correction("Right", False, " "), "the edit is empty"),
        (SIDE, "Right", correction("Right", True, "Left"), "the model calls the reply right, the check does not"),
        (SIDE, "Left", correction("Left", False, "Right"), "the model calls the reply wrong, the check does not"),
        (SIDE, "Right", correction("Right", False, "Both"), "the edited reply does not agree with the reference"),
        (SIDE, "Left", correction("Left", True, "Left lung"), "the rejected reply is not wrong"),
        (
            SIDE, LONG,
            correction(ON_THE_RIGHT, False, "One sees it in the left lung, and it is small."),
            "of the words",
        ),
        (
            REPORTED, REPORT.replace("left", "right"),
            correction("", False, "A small effusion on the left, a heart slightly too large, and nothing else at all."),
            "words, more than 9",
        ),
        (SIDE, "Right", "refused: no", "correct: refused: no"),
    ],
)  # fmt: skip
def test_an_edit_is_checked_against_the_reply_the_reference_and_its_size(
    place, own, answer, expected, examples, root
) -> None:
    example = examples[place]
    context = told(context_of(examples, root), answer, own={example.id: own})
    draft = Correct(by="chat").write(example, context, role="chosen", other=None)
    if isinstance(expected, str):
        assert isinstance(draft, Refused)
        assert expected in draft.reason
    else:
        assert texts(draft) == expected
        assert draft.notes["chat"]["prompt"].startswith("correct@")
        assert draft.notes["own_was_right"] is answer["right"]


def test_a_wrapped_writer_asks_too(examples, root) -> None:
    answer = correction(ON_THE_RIGHT, False, ON_THE_LEFT)
    context = told(context_of(examples, root), answer, own={examples[SIDE].id: LONG})
    draft = Phrases(of={"kind": "correct", "by": "chat"}).write(examples[SIDE], context, role="chosen", other=None)
    assert texts(draft) == {"chosen": "left", "rejected": "right"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("There is a small effusion on the left.", None),
        ("On the left the costophrenic angle is blunted by a small pleural effusion.", None),
        ("There is an effusion on the left.", None),
        (
            "There is a large effusion on the left.",
            "it says pleural effusion (present",
        ),
        ("There is a small effusion on the right.", "which no fact says"),
        ("There is a small effusion on the left and atelectasis.", "it says atelectasis"),
        ("There is no effusion.", "it says pleural effusion (absent), which no fact says"),
        ("The lungs look fine.", "it leaves out pleural effusion"),
    ],
)
def test_a_rationale_says_what_the_facts_say(said: str, reason: str | None) -> None:
    found = unfounded("On the left there is a small pleural effusion.", said)
    assert (found is None) if reason is None else (reason in str(found))


BEFORE = "In the left lower zone there is a small pleural effusion. There is no pneumothorax."


@pytest.mark.parametrize(
    ("after", "error"),
    [
        (BEFORE.replace("left", "right"), "side"),
        (BEFORE.replace("lower", "upper"), "zone"),
        (BEFORE.replace("small", "large"), "severity"),
        (BEFORE.replace("small", "moderate"), "severity"),
        (BEFORE.replace("is no pn", "is a pn"), "presence"),
        (BEFORE.replace("is a small", "is no"), "presence"),
        (BEFORE.replace("pleural effusion", "consolidation"), "finding"),
        (BEFORE.partition(". ")[0] + ".", "presence"),
        (BEFORE, None),
        (BEFORE.replace("left", "right").replace("small", "large"), None),
        (BEFORE.replace("left", "right").replace("is no pn", "is a pn"), None),
    ],
)
def test_one_flipped_fact_is_told_from_none_and_from_several(after: str, error: str | None) -> None:
    assert flipped(BEFORE, after) == error


TWO = (
    "In the first image, on the left there is a small nodule. In the second image, on the left there is a large nodule."
)


@pytest.mark.parametrize(
    ("after", "error", "reason"),
    [
        (TWO, None, None),
        (TWO.replace("large", "small"), "severity", "it says nodule (present, left, small), which no fact says"),
        (TWO.replace("small", "large"), "severity", "it says nodule (present, left, large), which no fact says"),
        (TWO.replace("second image, on the left", "second image, on the right"), "side", "it says nodule (present, "),
        (TWO.replace("a large nodule", "no nodule"), "presence", "it says nodule (absent"),
        (TWO.replace("first", "2nd").replace("second", "first").replace("2nd", "second"), None, "which no fact says"),
        (TWO.partition(". ")[0] + ".", "presence", "it leaves out nodule"),
    ],
)
def test_statements_belong_to_the_image_of_which_they_are_said(
    after: str, error: str | None, reason: str | None
) -> None:
    assert flipped(TWO, after) == error
    found = unfounded(TWO, after)
    assert found is None if reason is None else reason in str(found)


def rationale_of(example: Example, context: Context, said: str) -> Any:
    return Rationale(by="chat").write(example, told(context, {"rationale": said}), role="chosen", other=None)


def test_a_rationale_and_its_counterfactual_are_checked(examples, root) -> None:
    example, context = examples[SIDE], context_of(examples, root)
    chosen = rationale_of(example, context, "On the left the angle is blunted by a small pleural effusion.")
    assert texts(chosen) == {"chosen": "Left. On the left the angle is blunted by a small pleural effusion."}
    refused = rationale_of(example, context, "On the left the angle is blunted by a large pleural effusion.")
    assert "which no fact says" in refused.reason
    assert "words for 1 facts" in rationale_of(example, context, "effusion left small " * 20).reason

    def flip(answer: str, said: str) -> Any:
        answering = told(context, {"answer": answer, "rationale": said, "changed": "side"})
        return Counterfactual(by="chat").write(example, answering, role="rejected", other=chosen)

    good = flip("Right", "On the right the angle is blunted by a small pleural effusion.")
    assert texts(good) == {"rejected": "Right. On the right the angle is blunted by a small pleural effusion."}
    assert (good.notes["made_by"], good.notes["error"]) == ("policy", "side")
    both = flip("Both", "On both sides the angle is blunted by a small pleural effusion.")
    assert both.notes["made_by"] == "chat"
    for bad, reason in (
        (flip("Left", "On the left the angle is blunted by a small pleural effusion."), "not wrong"),
        (
            flip("Right", "On the right one can see that the angle is blunted by what is a small pleural effusion."),
            "as long",
        ),
        (flip("Right", "On the right the angle is blunted by a large pleural effusion."), "not exactly one fact"),
        (flip("Right", "On the left the angle is blunted by a small pleural effusion."), "not"),
    ):
        assert isinstance(bad, Refused)
        assert reason in bad.reason


def test_every_question_kind_was_seen(examples) -> None:
    assert [ASKED[place][0] for place in (SIDE, SEVERITY, OPEN, REPORTED)] == [
        "side",
        "severity",
        "abnormality",
        "report",
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "error"),
    [
        ("right lung", "left lung", "side"),
        ("small effusion", "small pneumothorax", "finding"),
        ("There is an effusion.", "There is no effusion.", "presence"),
        ("right lung", "the spleen", "side"),
    ],
)
def test_the_error_is_the_type_of_the_concepts_that_differ(right: str, wrong: str, error: str, examples) -> None:
    assert error_of(examples[OPEN], wrong, right) == error
