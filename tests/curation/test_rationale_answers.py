"""Rationales of questions without facts: what yes and no say, and what they do not."""

from pathlib import Path

import pytest

from medpref.curation.draft import Draft, Refused
from medpref.curation.pool import gather
from medpref.curation.rationale import Counterfactual, Rationale
from medpref.language.decision import Asked, presence_asked
from medpref.schema import Example, ImageRef

IMAGE = ImageRef(path="a.png", sha256="a" * 64)


def asked(question: str, answer: str, *, kind: str = "other") -> Example:
    return Example(
        id=question, patient="p", images=(IMAGE,), question=question, answer=answer, split="train", kind=kind,
        answer_type="closed", choices=("yes", "no"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is there a pneumothorax?", Asked("pneumothorax", True)),
        ("Is there an enhancing lesion in the liver?", Asked("enhancing lesion", True)),
        ("Are there calcifications in the arteries?", Asked("calcification", True)),
        ("Does this patient have cardiomegaly?", Asked("cardiomegaly", True)),
        ("Is the trachea midline?", Asked("tracheal deviation", False)),
        ("Is this a normal mri?", Asked("abnormality", False)),
        ("does this image look normal?", Asked("abnormality", False)),
        ("is there something wrong in the image?", Asked("abnormality", True)),
        # of these, yes and no say nothing about whether a finding is there
        ("Does the lesion enhance?", None),
        ("Are the nodules well circumscribed?", None),
        ("Is the liver normal in size?", None),
        ("Is this an axial plane?", None),
        ("Was contrast used?", None),
    ],
)
def test_what_a_question_asks_the_presence_of(question: str, expected: Asked | None) -> None:
    assert presence_asked(question) == expected


@pytest.mark.parametrize(
    ("question", "answer", "chosen", "rejected"),
    [
        ("Is this image normal?", "no", "no. There is an abnormality.", "yes. There is no abnormality."),
        ("Is this image normal?", "yes", "yes. There is no abnormality.", "no. There is an abnormality."),
        ("Is there a rib fracture?", "No", "No. There is no rib fracture.", "Yes. There is a rib fracture."),
        ("Is the trachea midline?", "Yes", "Yes. There is no tracheal deviation.", "No. There is tracheal deviation."),
    ],
)
def test_a_yes_or_no_is_put_the_right_way_round(
    question: str, answer: str, chosen: str, rejected: str, tmp_path: Path
) -> None:
    example = asked(question, answer)
    context = gather([example], {}, seed=0, root=tmp_path)
    right = Rationale().write(example, context, role="chosen", other=None)
    assert isinstance(right, Draft)
    assert right.replies["chosen"].text == chosen
    wrong = Counterfactual().write(example, context, role="rejected", other=right)
    assert isinstance(wrong, Draft)
    assert wrong.replies["rejected"].text == rejected


@pytest.mark.parametrize("question", ["Is this an axial plane?", "Does the lesion enhance?", "Is the heart dilated?"])
@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_question_about_something_else_gets_no_made_up_fact(question: str, answer: str, tmp_path: Path) -> None:
    example = asked(question, answer)
    made = Rationale().write(example, gather([example], {}, seed=0, root=tmp_path), role="chosen", other=None)
    assert isinstance(made, Refused)
    assert made.reason == "no fact bears on this question"
