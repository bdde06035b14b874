import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.judging.agreement import Agreement
from medpref.judging.exact import Exact
from medpref.language.answers import decision, parse_closed
from medpref.language.findings import polarities
from medpref.language.lexicon import lexicon
from medpref.language.presence import flip_lead
from medpref.schema import Example, ImageRef

BOUNDED = settings(max_examples=80, deadline=None)
FINDINGS = sorted(c.forms[0] for (kind, _), c in lexicon().concepts.items() if kind == "finding")
UNDECIDED = (
    "I do not know.", "I don't know", "I don’t know.", "I do not really know.", "No idea.", "Not sure", "Unknown.",
    "I cannot tell.", "I can't say from this image.", "It is hard to tell.", "It cannot be determined.",
    "There is not enough information.", "I cannot see the image.", "Insufficient information.", "Inconclusive.",
    "No answer.", "It is not clear.", "Not clear", "It is not known.", "There is no way to tell.",
)  # fmt: skip


def closed(answer: str, question: str) -> Example:
    return Example(
        id="e", patient="p", images=(ImageRef(path="a.png", sha256="a" * 64),), question=question, answer=answer,
        split="train", kind="presence", answer_type="closed", choices=("yes", "no"),
    )  # fmt: skip


@pytest.mark.parametrize("reply", UNDECIDED)
@pytest.mark.parametrize("question", ["", "Is there a pleural effusion?", "Is the heart normal?"])
def test_a_reply_that_does_not_know_does_not_decide(reply: str, question: str) -> None:
    assert decision(reply, question) is None
    assert parse_closed(reply, ("yes", "no"), question) is None


@pytest.mark.parametrize("reply", UNDECIDED)
def test_not_knowing_is_no_right_answer_to_a_question_whose_answer_is_no(reply: str) -> None:
    example = closed("No", "Is there a fracture?")
    assert Exact().judge(example, reply).value == 0.0
    assert Agreement().judge(example, reply).value == 0.0


@pytest.mark.parametrize(
    ("question", "reply", "expected"),
    [
        ("Is there an effusion?", "There is no doubt that there is an effusion.", "yes"),
        ("Is there an effusion?", "There is, without a doubt, an effusion.", "yes"),
        ("Is the heart normal?", "The heart is enlarged.", "no"),
        ("Is the heart normal?", "The heart is abnormal.", "no"),
        ("Is the heart normal?", "No abnormality of the heart.", "yes"),
        ("Is the heart normal?", "There is a pleural effusion.", None),
        ("Is this image normal?", "No abnormality.", "yes"),
        ("Is this image normal?", "No.", "no"),
        ("Are the lungs clear?", "The lungs are clear.", "yes"),
        ("Are the lungs clear?", "The lungs are not clear.", "no"),
        ("Are the lungs clear?", "There is consolidation.", "no"),
        ("Is the trachea midline?", "The trachea is deviated.", "no"),
        ("Is the heart enlarged?", "The heart is normal in size.", "no"),
        ("Is the lesion on the left?", "The lesion is on the right.", "no"),
        ("Is the lesion on the left?", "The lesion is on the left.", "yes"),
        ("Is there an effusion on the left?", "There are bilateral effusions.", "yes"),
        ("Is this a CT?", "This is an MRI.", "no"),
        ("Is this a CT?", "This is a CT.", "yes"),
        ("Is this an axial plane?", "It is coronal.", "no"),
        ("Is there an effusion?", "An effusion is possible.", None),
        ("Is there an effusion?", "Effusion", "yes"),
        ("Is there an effusion?", "None", "no"),
        ("Is there an effusion?", "The pleura is fine.", None),
        ("Is there a fracture?", "No one can see a fracture here", "no"),
    ],
)
def test_a_sentence_is_read_against_the_question(question: str, reply: str, expected: str | None) -> None:
    assert decision(reply, question) == expected


@BOUNDED
@given(st.sampled_from(FINDINGS))
def test_saying_there_is_one_or_none_decides_the_question_about_it(finding: str) -> None:
    question = f"Is there {finding}?"
    assert decision(f"There is {finding}.", question) == "yes"
    assert decision(f"There is no {finding}.", question) == "no"
    assert decision(f"{finding.capitalize()} is not seen.", question) == "no"


@BOUNDED
@given(st.sampled_from(FINDINGS), st.sampled_from(["No {}", "no {}.", "There is no {}", "No evidence of {}."]))
def test_a_reference_without_a_finding_is_never_read_as_the_finding(finding: str, frame: str) -> None:
    reference = frame.format(finding)
    assert decision(reference, f"Is there {finding}?") == "no"
    assert "present" not in polarities(reference).values()
    example = closed("x", "What is seen?").model_copy(
        update={"answer": reference, "choices": (), "answer_type": "open", "kind": "abnormality"}
    )
    assert Agreement().judge(example, reference).value == 1.0
    assert Agreement().judge(example, f"There is {finding}").value == 0.0


@BOUNDED
@given(
    st.sampled_from(["no", "not", "none", "nor", "yes", "true"]),
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=6),
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz", max_size=6),
)
def test_a_decision_is_never_found_inside_a_word(word: str, after: str, before: str) -> None:
    inside = f"{before}{word}{after}"
    if any(inside.startswith(real) and inside == real for real in ("no", "not", "none", "nor", "nope", "yes", "true")):
        return
    if decision(inside) is not None:
        assert inside in {"nope", "nor", "not", "none", "never"} or inside.startswith(("absen", "show", "demonstrat"))
    assert flip_lead(f"{inside} lung") == ()
    assert polarities(f"{inside} pleural effusion").get("pleural effusion") != "absent" or inside in {"not", "nor"}


@pytest.mark.parametrize(
    "word", ["normal", "abnormal", "nodule", "note", "notable", "noncontrast", "know", "annotated"]
)
def test_no_is_never_found_in_normal(word: str) -> None:
    assert decision(word) is None
    assert decision(f"{word} lungs", "Is there an effusion?") is None
    assert flip_lead(f"{word} lungs") == ()
    assert Agreement().judge(closed("No", "Is there an effusion?"), word).value == 0.0
