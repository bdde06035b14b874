import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.language.answers import decision
from medpref.language.negation import is_bound, third, with_not, without_no, without_not
from medpref.language.presence import flip_decision, flip_statement
from medpref.language.rewrite import replace


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("The image does not show any enhancement.", "The image shows enhancement."),
        ("The lesion does not enhance.", "The lesion enhances."),
        ("The kidneys do not appear normal.", "The kidneys appear normal."),
        ("The mass does not likely represent a process.", "The mass likely represents a process."),
        ("The orbits are definitely not visible.", "The orbits are definitely visible."),
        ("It isn't visible.", "It is visible."),
        ("It cannot be seen.", "It can be seen."),
        ("The film does not show anything wrong.", "The film shows something wrong."),
        ("It is visible.", None),
    ],
)
def test_a_not_is_taken_out_with_its_grammar(before: str, after: str | None) -> None:
    moved = without_not(before)
    assert (replace(before, moved) if moved else None) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("There is restricted diffusion.", "There is no restricted diffusion."),
        ("There is an air-fluid level.", "There is no air-fluid level."),
        ("There is another alteration.", "There is no other alteration."),
        ("The patient received contrast.", "The patient did not receive contrast."),
        ("The patient has edema.", "The patient does not have edema."),
        ("The brainstem has herniated.", "The brainstem has not herniated."),
        ("The image shows the kidneys.", "The image does not show the kidneys."),
        ("There is something wrong with the lungs.", "There is nothing wrong with the lungs."),
        ("Kidneys in view.", None),
    ],
)
def test_a_not_is_put_in_with_its_grammar(before: str, after: str | None) -> None:
    moved = with_not(before)
    assert (replace(before, moved) if moved else None) == after


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["show", "demonstrate", "contain", "have", "affect", "suggest"]), st.sampled_from(["fat", "a cyst"])
)
def test_taking_out_undoes_putting_in(verb: str, what: str) -> None:
    text = f"The scan {third(verb)} {what}."
    denied = replace(text, with_not(text))
    assert " does not " in denied
    assert replace(denied, without_not(denied)) == text


def test_the_article_that_goes_with_no_comes_back_from_the_question() -> None:
    text = "There is no air-fluid level."
    assert replace(text, without_no(text, "Is there an air-fluid level?")) == "There is an air-fluid level."
    assert replace(text, without_no(text)) == "There is air-fluid level."
    assert replace("No signs of any process.", without_no("No signs of any process.")) == "signs of process."
    assert replace("Nothing is wrong.", without_no("Nothing is wrong.")) == "Something is wrong."


@pytest.mark.parametrize(
    "text",
    [
        "It shows the spine rather than the midbrain.",
        "It is visible because the scan is focused there.",
        "The trunk is visualized and is occluded.",
        "Neither kidney is seen.",
        "It is a cyst, which is benign.",
        "It shows the spine, not the brain.",
    ],
)
def test_what_one_not_cannot_turn_is_left_alone(text: str) -> None:
    assert is_bound(text)
    assert flip_statement(text) == ()


@pytest.mark.parametrize(
    ("before", "question", "after"),
    [
        ("No, there is no edema.", "", "Yes, there is edema."),
        ("Yes, it is an anteroposterior (AP) film.", "Is it a PA film?", "No, it is a posteroanterior (PA) film."),
        ("Yes, structures are shifted across the midline.", "", "No, structures are not shifted across the midline."),
        ("No, the vessel is larger than normal.", "", "Yes, the vessel is not larger than normal."),
        ("No, there is clear evidence of it.", "", "Yes, there is no clear evidence of it."),
        ("Yes, there are fractures and signs of trauma.", "", "No, there are no fractures or signs of trauma."),
        ("Yes, it shows the presence of an effusion.", "", "No, it shows the absence of an effusion."),
        ("No, it rules out effusion.", "", "Yes, it shows effusion."),
        ("Yes, it is the right and left lung.", "The right and left lung?", "No, it is not the right and left lung."),
        ("No, it does not show any signs of a pneumothorax.", "", "Yes, it shows signs of a pneumothorax."),
        ("No, there is nothing wrong with the lungs.", "", "Yes, there is something wrong with the lungs."),
        # nothing is said that the reference does not say: not flattened may be anything but flat
        ("Yes, the domes are flattened.", "Flattened?", "No, the domes are not flattened."),
        ("Yes, the lung is normal in size.", "Normal in size?", "No, the lung is not normal in size."),
        ("Yes, the scan is normal.", "Is it normal?", "No, the scan is abnormal."),
        ("Yes, it shows a perfectly normal heart size.", "", "No, it does not show a perfectly normal heart size."),
    ],
)  # fmt: skip
def test_sentences_of_real_replies_turn_whole(before: str, question: str, after: str) -> None:
    turned = replace(before, flip_decision(before, question, graded=False))
    assert turned == after
    assert {decision(before), decision(turned)} == {"yes", "no"}


@pytest.mark.parametrize(
    "text",
    [
        "No, it is not in the axial plane, it is in the coronal plane.",
        "No, it is not an MRI, it is a CT scan.",
        "No, the mass is not solid, it is cystic.",
    ],
)
def test_one_thing_said_in_place_of_another_is_not_turned_by_half(text: str) -> None:
    assert flip_decision(text, "Is it in the axial plane, an MRI, solid?", graded=False) == ()


def test_a_degree_is_put_in_only_where_asked_for() -> None:
    text = "No, there is no pleural effusion."
    assert replace(text, flip_decision(text)) == "Yes, there is a small pleural effusion."
    assert replace(text, flip_decision(text, graded=False)) == "Yes, there is a pleural effusion."
