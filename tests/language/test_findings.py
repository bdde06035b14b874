import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.errors import DataError
from medpref.language.findings import clauses, mentions, polarities, sentences, statements
from medpref.language.lexicon import Lexicon, lexicon


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No effusion.", {"pleural effusion": "absent"}),
        ("There is no evidence of pneumothorax.", {"pneumothorax": "absent"}),
        ("No pleural effusion or pneumothorax.", {"pleural effusion": "absent", "pneumothorax": "absent"}),
        ("No fracture, cyst, or edema.", dict.fromkeys(("fracture", "cyst", "edema"), "absent")),
        ("No effusion, but mild cardiomegaly.", {"pleural effusion": "absent", "cardiomegaly": "present"}),
        ("No pneumothorax and the heart is enlarged.", {"pneumothorax": "absent", "cardiomegaly": "present"}),
        ("Without pneumothorax.", {"pneumothorax": "absent"}),
        ("Negative for fracture", {"fracture": "absent"}),
        ("Pneumothorax is not seen.", {"pneumothorax": "absent"}),
        ("The effusion is no longer present.", {"pleural effusion": "absent"}),
        ("No change in the effusion.", {"pleural effusion": "present"}),
        ("Possible pneumonia.", {"pneumonia": "uncertain"}),
        ("Pneumonia cannot be excluded.", {"pneumonia": "uncertain"}),
        ("Effusion versus atelectasis.", {"pleural effusion": "uncertain", "atelectasis": "uncertain"}),
        ("The lungs are clear.", {"consolidation": "absent"}),
        ("The lungs are not clear.", {"consolidation": "present"}),
        ("Heart size is normal.", {"cardiomegaly": "absent"}),
        ("The heart is moderately enlarged.", {"cardiomegaly": "present"}),
        ("The heart is not enlarged.", {"cardiomegaly": "absent"}),
        ("An endotracheal tube is in place.", {"endotracheal tube": "present"}),
        ("Normal nodular", {}),
    ],
)  # fmt: skip
def test_polarity(text: str, expected: dict[str, str]) -> None:
    assert polarities(text) == expected


@pytest.mark.parametrize("word", ["normal", "nodule", "note", "abnormal", "nothing", "northern", "know"])
def test_no_is_never_found_inside_a_word(word: str) -> None:
    assert polarities(f"{word} pleural effusion")["pleural effusion"] == "present"


@pytest.mark.parametrize("lead", ["No", "no", "There is no", "Without", "No evidence of", "Absence of"])
@settings(max_examples=40, deadline=None)
@given(finding=st.sampled_from([c.forms[0] for (kind, _), c in lexicon().concepts.items() if kind == "finding"]))
def test_a_denied_finding_is_never_read_as_present(lead: str, finding: str) -> None:
    assert "present" not in polarities(f"{lead} {finding}.").values()
    assert "absent" not in polarities(f"There is {finding}.").values()


def test_attributes_belong_to_their_finding() -> None:
    first, second = statements("There is a small left pleural effusion and a severe right lower consolidation.")
    assert (first.finding, first.attributes) == ("pleural effusion", {"size": "small", "side": "left"})
    assert second.attributes == {"severity": "severe", "side": "right", "zone": "lower"}
    (after,) = statements("Consolidation in the right upper zone.")
    assert after.attributes == {"side": "right", "zone": "upper"}
    first, second = statements("Severe consolidation in the right upper zone and atelectasis in the left lower zone.")
    assert first.attributes == {"severity": "severe", "side": "right", "zone": "upper"}
    assert second.attributes == {"side": "left", "zone": "lower"}
    (within,) = statements("The heart is mildly enlarged.")
    assert within.attributes == {"severity": "mild"}


def test_a_gap_in_a_form_leaves_its_words_readable() -> None:
    assert [m.concept.name for m in mentions("The heart is mildly enlarged")] == ["cardiomegaly", "mild"]


def test_decimals_do_not_end_a_sentence_and_codes_are_not_counts() -> None:
    assert len(sentences("A 4.5 mm nodule. No effusion.")) == 2
    assert not mentions("L2-3 and 3/6 and 4.5", ("count",))
    assert [m.concept.name for m in mentions("2 nodules", ("count",))] == ["two"]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abno .,;left", max_size=60))
def test_clauses_cover_every_sentence_once(text: str) -> None:
    covered = [place for start, end in clauses(text) for place in range(start, end)]
    assert covered == sorted(set(covered))
    said = {place for start, end in sentences(text) for place in range(start, end)}
    assert set(covered) == said


def test_every_swap_of_the_lexicon_is_a_concept_and_never_itself() -> None:
    for (_, name), concept in lexicon().concepts.items():
        assert name not in concept.swaps
        assert lexicon().partners(concept) or concept.type == "contrast"
        assert concept.type in lexicon().consequence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lung system", "heart system"),
        ("abdomen system", "urinary system"),
        ("breast", "chest"),
    ],
)
def test_what_the_same_picture_shows_is_no_wrong_organ_system(one: str, other: str) -> None:
    assert other not in lexicon().get("organ", one).swaps
    assert one not in lexicon().get("organ", other).swaps


def test_a_new_statement_after_a_comma_is_not_denied() -> None:
    read = mentions("It is not in the axial plane, it is in the coronal plane.", ("plane",))
    assert [one.polarity for one in read] == ["absent", "present"]


def test_parallel_forms_of_side_and_contrast_correspond() -> None:
    left, right = lexicon().get("side", "left"), lexicon().get("side", "right")
    assert [form.replace("left", "right") for form in left.forms] == list(right.forms)


def test_an_unknown_swap_is_named() -> None:
    raw = {
        "consequence": {},
        "parallel": [],
        "side": {"left": {"forms": ["left"], "swaps": ["rigth"]}, "right": {"forms": ["right"]}},
    }
    with pytest.raises(DataError, match=r"lexicon side/left.*did you mean 'right'"):
        Lexicon(raw)
