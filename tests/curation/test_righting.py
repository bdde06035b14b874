"""What may be exchanged in a real reply, and which replies are left alone."""

from pathlib import Path

import pytest

from medpref.curation.clause import at_odds, contradicts_itself, main_clause, nonsense, says_otherwise
from medpref.curation.draft import Draft, Refused
from medpref.curation.falsify import falsify
from medpref.curation.pool import gather
from medpref.curation.revise import Correct
from medpref.curation.righting import righted
from medpref.judging.agreement import Agreement
from medpref.schema import Example, ImageRef, OwnReply

IMAGE = ImageRef(path="a.png", sha256="a" * 64)


def asked(question: str, answer: str, *, kind: str = "other") -> Example:
    closed = answer.lower() in ("yes", "no")
    return Example(
        id=question, patient="p", images=(IMAGE,), question=question, answer=answer, split="train", kind=kind,
        answer_type="closed" if closed else "open", choices=("yes", "no") if closed else (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("question", "answer", "own", "chosen"),
    [
        ("Is there edema?", "Yes", "No, there is no edema.", "Yes, there is edema."),
        ("What is the foreign body?", "a catheter", "The foreign body is a stent.", "The foreign body is a catheter."),
        ("Where is the abscess?", "descending colon", "It is in the liver.", "It is in the descending colon."),
        ("What sequence is it?", "T2 weighted", "It is a T1-weighted (T1W) image.", "It is a T2-weighted (T2W) image."),
        ("What is it, viral or parasitic?", "Parasitic", "It is a viral process.", "It is a parasitic process."),
        ("What is the cause?", "CVA", "The cause is hemorrhage.", "The cause is CVA."),
        ("Which organ is it?", "jejunum", "Spleen", "Jejunum"),
        ("Which organ is it?", "jejunum", "It is the ribs.", "It is the jejunum."),
        ("What view is it?", "PA", "It is a lateral (LAT) film.", "It is a PA film."),
        ("What is it?", "metastasis", "It is a benign cyst.", None),
        ("What is it?", "benign tumor", "It is a benign cyst.", "It is a benign tumor."),
        ("Where is it?", "liver", "The lungs are affected.", None),
        # off the subject, a system for a place, nothing to hold on to
        ("Which organ is it?", "jejunum", "axial", None),
        ("Where is the abscess?", "descending colon", "skull and contents", None),
        ("What else is needed?", "Biopsy", "lung, mediastinum, pleura", None),
        # an undecided reply to a yes or no question is not exchanged for the reference
        ("Is there a fracture?", "No", "axial", None),
        # the subject is not the place of the answer; what is left would still be wrong
        ("What type of hepatic lesion has gas?", "abscess", "A hepatic lesion of which nothing is known.", None),
        ("Where is the mass?", "pancreas", "The mass is in the right adrenal gland.", None),
        ("On which side is it?", "Right side", "It is in the left subclavian vein.", None),
        ("Where are the kidneys?", "Adjacent to vertebrae", "The kidneys are in the pelvis.", None),
        ("What is the lesion?", "abscess", "It is a cyst, which is a fluid-filled sac.", None),
    ],
)  # fmt: skip
def test_a_real_reply_is_righted_or_left_alone(question: str, answer: str, own: str, chosen: str | None) -> None:
    example = asked(question, answer)
    found = righted(example, own)
    assert found == chosen
    if found is not None:
        assert Agreement().judge(example, found).value == 1.0


@pytest.mark.parametrize(
    ("question", "answer", "own", "kept"),
    [
        ("Is there an effusion?", "No", "Yes, there is an effusion, which is large.", "Yes, there is an effusion."),
        ("Is it normal?", "No", "Yes, it is normal, with no lesion.", "Yes, it is normal."),
        ("What is it?", "cyst", "A hepatic lesion, which is a cyst.", "A hepatic lesion, which is a cyst."),
        ("Is it seen?", "No", "Yes, it is seen.", "Yes, it is seen."),
    ],
)  # fmt: skip
def test_only_the_main_clause_is_kept_where_it_answers(question: str, answer: str, own: str, kept: str) -> None:
    assert main_clause(asked(question, answer), own) == kept


def test_a_reply_at_odds_with_itself_is_not_used() -> None:
    example = asked("Is there a pleural effusion?", "No")
    assert contradicts_itself(example, "Yes, the film shows no signs of pleural effusion.")
    assert not contradicts_itself(example, "Yes, the film shows signs of pleural effusion.")
    assert not contradicts_itself(asked("Does the lesion enhance?", "No"), "No, the lesion does not enhance.")
    assert at_odds("A normal heart with signs of cardiomegaly.")
    assert at_odds("The kidneys are abnormal with no abnormality.")
    assert not at_odds("A normal heart without effusion.")


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        ("Yes, taken in a prone position.", True),
        ("No, taken in a supine position.", True),
        ("Yes, taken in a supine position.", False),
        # what is denied may be the opposite of what was asked
        ("Yes, the patient is not prone.", False),
    ],
)
def test_a_lead_that_the_rest_contradicts_is_seen(text: str, odd: bool) -> None:
    assert says_otherwise(asked("Is it taken in a supine position?", "Yes"), text) is odd


def test_an_edit_that_leaves_another_contradiction_is_dropped(tmp_path: Path) -> None:
    example = asked("Was it taken in a symmetrical supine position?", "Yes")
    own = {example.id: OwnReply(example=example.id, text="No, it was taken in an asymmetrical prone position.")}
    found = Correct().write(example, gather([example], own, seed=0, root=tmp_path), role="chosen", other=None)
    assert found == Refused("an edited reply is at odds with itself")


def test_words_that_nobody_knows_are_no_answer(tmp_path: Path) -> None:
    example = asked("Which organ is it?", "jejunum")
    context = gather([example], {}, seed=0, root=tmp_path)
    assert nonsense(example, "Right pin- angogram", context)
    assert not nonsense(example, "jejunum", context)
    assert not nonsense(example, "left kidney", context)


def test_what_is_left_of_a_reply_is_dropped_with_its_reason(tmp_path: Path) -> None:
    examples = [asked("Is there a pleural effusion?", "No"), asked("On which side is it?", "Right side")]
    own = ["Yes, the film shows no signs of pleural effusion.", "It is in the right frontal lobe."]
    said = {one.id: OwnReply(example=one.id, text=text) for one, text in zip(examples, own, strict=True)}
    context = gather(examples, said, seed=0, root=tmp_path)
    made = [Correct().write(one, context, role="chosen", other=None) for one in examples]
    assert all(isinstance(one, Refused) for one in made)
    assert [one.reason for one in made if isinstance(one, Refused)] == [
        "the policy's reply contradicts itself",
        "the policy's reply says more than the reference can vouch for",
    ]


def test_a_closed_question_gets_no_answer_of_another_sort(tmp_path: Path) -> None:
    closed = asked("Was the patient happy?", "Yes")
    pool = [closed, asked("Where is it?", "Posterior to the stomach"), asked("What is it?", "Biopsy of the mass")]
    context = gather(pool, {}, seed=0, root=tmp_path)
    assert falsify(closed, "Yes, happily so.", context, purpose="x") is None
    open_one = asked("What can be done?", "Wait and see")
    assert falsify(open_one, "Wait and see", context, purpose="x") is None


@pytest.mark.parametrize(
    ("answer", "reply", "value"),
    [
        ("Chest X-ray", "xr - plain film", None),
        ("Chest X-ray", "chest ct", 0.0),
        ("right subdural hematoma", "subdural hematoma", None),
        ("right subdural hematoma", "left subdural hematoma", 0.0),
        ("right subdural hematoma", "right epidural hematoma", 0.0),
        ("Subarachnoid hemorrhage", "epidural hemorrhage", 0.0),
        ("meningioma", "schwannoma", 0.0),
        ("Brain", "pons", None),
        ("Liver", "pons", 0.0),
        ("7th rib", "the 6th rib", 0.0),
        ("7th rib", "a rib", None),
        ("Less than half the thorax", "more than half the thorax", 0.0),
        ("Fluid in the pleural space", "a fracture of the pleural space", None),
        ("Right frontal lobe", "the lesion lies in the right frontal lobe of the brain", 1.0),
    ],
)
def test_agreement_with_open_references(answer: str, reply: str, value: float | None) -> None:
    assert Agreement().judge(asked("What is it?", answer), reply).value == value


def test_a_righted_reply_adds_no_degree_and_a_wrong_one_may(tmp_path: Path) -> None:
    example = asked("Is there a pleural effusion?", "Yes", kind="presence")
    own = {example.id: OwnReply(example=example.id, text="No, there is no pleural effusion.")}
    draft = Correct().write(example, gather([example], own, seed=0, root=tmp_path), role="chosen", other=None)
    assert isinstance(draft, Draft)
    assert draft.replies["chosen"].text == "Yes, there is a pleural effusion."
