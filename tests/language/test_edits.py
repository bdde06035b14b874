import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.language.answers import decision, normalise
from medpref.language.diff import changes, split_words
from medpref.language.edits import TYPES, edits, preferred
from medpref.language.findings import polarities, statements
from medpref.language.lexicon import lexicon
from medpref.language.presence import flip_decision
from medpref.language.rewrite import replace
from medpref.language.wording import article, plural, recase, styled

REPORTS = (
    "Heart size is normal. No pleural effusion or pneumothorax. The lungs are clear.",
    "The heart is mildly enlarged. There is a small left pleural effusion.",
    "There is severe consolidation in the right upper zone and atelectasis in the left middle zone.",
    "A central venous catheter is in place. There are two nodules in both lungs.",
    "Mild cardiomegaly with a small right effusion. No evidence of fracture.",
)


@pytest.mark.parametrize(
    ("answer", "kind", "first"),
    [
        ("right lung", "organ", "left lung"),
        ("Right lung", "other", "Left lung"),
        ("CT", "modality", "MRI"),
        ("xr - plain film", "modality", "ct noncontrast"),
        ("axial", "plane", "coronal"),
        ("Axial", "plane", "Coronal"),
        ("PA", "plane", "AP"),
        ("pa", "plane", "ap"),
        ("yes", "presence", "no"),
        ("No", "presence", "Yes"),
        ("left", "side", "right"),
        ("LEFT", "side", "RIGHT"),
        ("Moderate", "severity", "Mild"),
        ("two", "count", "one"),
        ("2", "count", "1"),
        ("T2-weighted", "modality", "T1-weighted"),
        ("with contrast", "modality", "without contrast"),
        ("Bilateral lungs", "organ", "Left lung"),
        ("an effusion", "abnormality", "a pneumothorax"),
        ("pulmonary nodules", "abnormality", "masses"),
        ("pneumothoraces", "abnormality", "pleural effusions"),
        ("descending colon", "organ", "ascending colon"),
        ("In the basal ganglia bilaterally", "organ", "In the basal ganglia on the left"),
    ],
)
def test_the_first_edit_of_a_short_answer(answer: str, kind: str, first: str) -> None:
    assert preferred(answer, kind)[0].text == first


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("No pleural effusion.", "Small pleural effusion."),
        ("No pleural effusion or pneumothorax.", "Small pleural effusion and pneumothorax."),
        ("No focal consolidation.", "Focal consolidation."),
        ("There is no pleural effusion.", "There is a small pleural effusion."),
        ("There is no atelectasis.", "There is mild atelectasis."),
        ("No evidence of pneumothorax.", "Evidence of pneumothorax."),
        ("Chest without effusion.", "Chest with a small effusion."),
        ("Pneumothorax is not seen.", "Pneumothorax is seen."),
        ("Negative for fracture.", "Positive for fracture."),
        ("There is a small left pleural effusion.", "There is no left pleural effusion."),
        ("There is a significant skull fracture.", "There is no skull fracture."),
        ("Moderate cardiomegaly.", "No cardiomegaly."),
        ("There are two nodules.", "There are no nodules."),
        ("The scan shows signs of a pneumothorax.", "The scan shows no signs of a pneumothorax."),
        ("Chest film with a small effusion.", "Chest film without effusion."),
        ("The heart is mildly enlarged.", "The heart is not enlarged."),
        ("The renal pelvis appears to be dilated.", "The renal pelvis appears not to be dilated."),
        ("The effusion is seen again.", "The effusion is not seen again."),
        ("Heart size is normal.", "Heart size is enlarged."),
        ("The lungs are clear.", "The lungs are opacified."),
    ],
)
def test_presence_both_ways(before: str, after: str) -> None:
    edit = edits(before, ("presence",))[0]
    assert edit.text == after
    held, said = polarities(before), polarities(after)
    assert held.keys() == said.keys()
    assert all(held[name] != said[name] for name in held)


def test_an_uncertain_finding_is_not_flipped() -> None:
    assert not edits("Possible pneumonia.", ("presence",))


@pytest.mark.parametrize(
    ("before", "question", "after"),
    [
        ("Yes", "", "No"),
        ("no.", "", "yes."),
        ("Yes, there is a small effusion.", "", "No, there is no effusion."),
        ("No, there is no effusion.", "", "Yes, there is a small effusion."),
        ("No, the trachea is deviated.", "Is the trachea midline?", "Yes, the trachea is not deviated."),
        ("No, it is axial.", "Is this a coronal slice?", "Yes, it is coronal."),
        ("No, this is a CT scan.", "Is this an MRI?", "Yes, this is an MRI scan."),
        ("Yes, the aorta appears to be wide.", "", "No, the aorta does not appear to be wide."),
        ("No, the lesion does not enhance.", "", "Yes, the lesion enhances."),
        ("Yes. The heart is enlarged.", "", "No. The heart is not enlarged."),
    ],
)
def test_a_flipped_decision_turns_its_statement_too(before: str, question: str, after: str) -> None:
    assert replace(before, flip_decision(before, question)) == after
    assert {decision(before), decision(after)} == {"yes", "no"}


def test_a_reply_whose_statement_cannot_be_turned_is_left_alone() -> None:
    assert flip_decision("Yes, as before") == ()


@pytest.mark.parametrize("text", REPORTS)
def test_edits_are_minimal_and_stay_where_they_say(text: str) -> None:
    found = edits(text)
    assert len(found) >= 3
    for edit in found:
        assert edit.type in TYPES
        start, end = edit.span
        kept = len(text) - end
        assert edit.text[:start] == text[:start]
        assert kept == 0 or edit.text[-kept:] == text[-kept:]
        differing = changes(split_words(text), split_words(edit.text))
        assert sum(max(c.a_end - c.a_start, c.b_end - c.b_start) for c in differing) <= 5, (edit.type, edit.text)


@pytest.mark.parametrize("text", REPORTS)
def test_an_edit_changes_what_is_said_and_only_in_its_own_respect(text: str) -> None:
    held = statements(text)
    for edit in edits(text, ("presence", "side", "zone", "severity", "size")):
        said = statements(edit.text)
        differing = [(a, b) for a, b in zip(held, said, strict=True) if a != b]
        assert differing, edit.text
        for a, b in differing:
            assert a.finding == b.finding
            if edit.type == "presence":
                assert a.polarity != b.polarity
            else:
                assert a.polarity == b.polarity
                keys = {
                    key for key in {**a.attributes, **b.attributes} if a.attributes.get(key) != b.attributes.get(key)
                }
                assert keys <= {"severity", "size"} if edit.type in ("severity", "size") else keys == {edit.type}


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(lexicon().concepts)), st.sampled_from(["{}", "{}.", "the {} here", "A {} is seen"]))
def test_a_swap_puts_a_partner_where_the_concept_stood(key: tuple[str, str], frame: str) -> None:
    concept = lexicon().concepts[key]
    if "~" in concept.forms[0]:
        return
    text = frame.format(concept.forms[0])
    for edit in edits(text, (concept.type,)):
        assert normalise(edit.text) != normalise(text)
        assert edit.concept == concept.name or concept.name not in edit.text
    texts = [edit.text for edit in edits(text)]
    assert len(texts) == len(set(texts))
    assert text not in texts


def test_wording() -> None:
    assert [article(word) for word in ("effusion", "MRI", "X-ray", "CT", "unilateral", "hematoma")] == [
        "an",
        "an",
        "an",
        "a",
        "a",
        "a",
    ]
    assert [plural(word) for word in ("nodule", "mass", "metastasis", "biopsy", "pneumothorax", "granuloma")] == [
        "nodules", "masses", "metastases", "biopsies", "pneumothoraces", "granulomas",
    ]  # fmt: skip
    assert recase("ultrasound", old="CT", text="CT", canonical="CT") == "Ultrasound"
    assert recase("right", old="left", text="The left lung") == "right"
    assert styled("The liver", like="spleen.") == "the liver."
    assert styled("yes.", like="No") == "Yes"
