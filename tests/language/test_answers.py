import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.language.answers import contains, decision, is_yes_no, normalise, parse_closed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The X-Ray, two views.", "xray 2 views"),
        ("  Yes. ", "yes"),
        ("x ray", "xray"),
        ("T2-weighted", "t2 weighted"),
        ("L2-3", "l2 3"),
        ("4.5 cm", "4.5 cm"),
        ("hodgkin's lymphoma", "hodgkin s lymphoma"),
        ("", ""),
    ],
)
def test_normal_form(text: str, expected: str) -> None:
    assert normalise(text) == expected


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("Yes, there is no doubt", "yes"),
        ("No, the lungs are normal", "no"),
        ("The answer is yes.", "yes"),
        ("There is a pneumothorax.", "yes"),
        ("There is no pneumothorax.", "no"),
        ("A pneumothorax is not seen.", "no"),
        ("An effusion is clearly present.", "yes"),
        ("The scan shows a mass.", "yes"),
        ("normal", None),
        ("nodule", None),
        ("Not sure", None),
        ("It cannot be determined from this image.", None),
        ("", None),
    ],
)
def test_decision(reply: str, expected: str | None) -> None:
    assert decision(reply) == expected


def test_with_the_question_a_sentence_that_takes_it_up_decides() -> None:
    assert decision("The trachea is midline.") is None
    assert decision("The trachea is midline.", "Is the trachea midline?") == "yes"
    assert decision("The trachea is not midline.", "Is the trachea midline?") == "no"


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["normal", "nodule", "note", "abnormal", "unknown", "noncontrast", "eyes", "yesterday"]))
def test_neither_yes_nor_no_is_found_inside_a_word(word: str) -> None:
    assert decision(word) is None
    assert parse_closed(word) is None


@pytest.mark.parametrize(
    ("reply", "choices", "expected"),
    [
        ("Left", ("left", "right"), "left"),
        ("It is on the left side.", ("left", "right", "both"), "left"),
        ("not left but right", ("left", "right"), "right"),
        ("left and right", ("left", "right", "both"), "both"),
        ("left and right", ("left", "right"), None),
        ("bilateral", ("left", "right", "both"), "both"),
        ("The right lower zone", ("right lower zone", "lower zone"), "right lower zone"),
        ("There are two nodules", ("none", "one", "two"), "two"),
        ("a radiograph", ("X-ray", "CT"), "X-ray"),
        ("leftover", ("left", "right"), None),
        ("YES", ("Yes", "No"), "Yes"),
        ("There is no fracture", ("yes", "no"), "no"),
        ("It is an AP film. A PA film would differ.", ("AP", "PA"), "AP"),
    ],
)
def test_choices(reply: str, choices: tuple[str, ...], expected: str | None) -> None:
    assert parse_closed(reply, choices) == expected


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["left", "right", "none", "both"]), st.sampled_from(["", "It is ", "The answer: "]))
def test_each_choice_parses_to_itself_in_its_own_spelling(choice: str, before: str) -> None:
    spelled = ("Left", "Right", "None", "Both")
    assert parse_closed(f"{before}{choice}.", spelled) == choice.capitalize()


def test_contains_is_by_whole_words() -> None:
    assert contains("a left effusion", "effusion")
    assert not contains("effusions", "effusion")
    assert not contains("normal", "no")
    assert not contains("anything", "")


def test_yes_no() -> None:
    assert is_yes_no(["Yes", "no."])
    assert not is_yes_no([])
    assert not is_yes_no(["yes", "maybe"])
