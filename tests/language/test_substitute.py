import pytest

from medpref.language.edits import edits
from medpref.language.findings import mentions, sentences
from medpref.language.lexicon import lexicon
from medpref.language.rewrite import replace
from medpref.language.substitute import put, takes_number
from medpref.language.wording import article, looks_plural


def changed(text: str, kind: str, old: str, new: str) -> str:
    place = next(m for m in mentions(text, (kind,)) if m.concept.name == old)
    return replace(text, put(text, place, lexicon().get(kind, new)))


@pytest.mark.parametrize(
    ("text", "kind", "old", "new", "after"),
    [
        ("There are two masses in the image.", "count", "two", "one", "There is one mass in the image."),
        ("There is one nodule.", "count", "one", "three", "There are three nodules."),
        ("There are two nodules.", "count", "two", "four", "There are four nodules."),
        ("The nodules lie in the left lung.", "side", "left", "both", "The nodules lie in the bilateral lungs."),
        ("In the bilateral lungs.", "organ", "lung", "kidney", "In the bilateral kidneys."),
        ("parietal and occipital lobes", "organ", "parietal lobe", "temporal lobe", "temporal and occipital lobes"),
        ("It shows ribs.", "organ", "ribs", "clavicle", "It shows clavicles."),
        ("Seen in the pancreas.", "organ", "pancreas", "liver", "Seen in the liver."),
        ("An infarct on the right side of it", "side", "right", "both", "An infarct on both sides of it"),
        ("It is the ribs.", "organ", "ribs", "liver", "It is the liver."),
        ("In both lungs.", "organ", "lung", "bronchus", "In both bronchi."),
        ("In the right hemisphere.", "side", "right", "both", "In the bilateral hemispheres."),
        ("It is a CT.", "modality", "ct", "xray", "It is an X-ray."),
        ("it is a ct", "modality", "ct", "xray", "it is an x-ray"),
        ("A T1-weighted image", "sequence", "t1", "flair", "A FLAIR-weighted image"),
    ],
)  # fmt: skip
def test_number_and_form_follow(text: str, kind: str, old: str, new: str, after: str) -> None:
    assert changed(text, kind, old, new) == after


def test_the_references_own_words_can_be_put() -> None:
    text = "The image shows hemorrhage."
    place = mentions(text, ("finding",))[0]
    assert replace(text, put(text, place, lexicon().get("finding", "infarct"), words="CVA")) == "The image shows CVA."


@pytest.mark.parametrize("text", ["The lungs are affected.", "Both lungs show nodules.", "Seen in both lungs."])
def test_one_organ_does_not_stand_for_several(text: str) -> None:
    place = mentions(text, ("organ",))[0]
    assert not takes_number(text, place, lexicon().get("organ", "heart"))
    assert takes_number(text, place, lexicon().get("organ", "kidney"))
    assert not [edit for edit in edits(text, ("organ",)) if "heart" in edit.text]


def test_an_edit_does_not_repeat_a_word_close_by() -> None:
    for edit in edits("White versus grey matter brightness", ("organ", "density")):
        assert "white versus white" not in edit.text.lower()
    assert not [edit for edit in edits("Loss of gray-white matter", ("organ",)) if "gray-gray" in edit.text]


def test_half_a_name_is_not_exchanged() -> None:
    assert not edits("A renal pelvis.", ("organ",))
    assert [edit.text for edit in edits("The pancreatic head.", ("organ",))] == ["The pancreatic tail."]


def test_parts_and_wholes() -> None:
    words = lexicon()
    assert words.related(words.get("organ", "pons"), words.get("organ", "brain"))
    assert words.related(words.get("organ", "head"), words.get("organ", "frontal lobe"))
    assert not words.related(words.get("organ", "liver"), words.get("organ", "spleen"))
    assert words.has_parts(words.get("organ", "lung"))
    assert not words.has_parts(words.get("organ", "pons"))


def test_wording_of_single_words() -> None:
    assert [article(word) for word in ("FLAIR image", "MRI", "FDG scan")] == ["a", "an", "an"]
    assert [looks_plural(word) for word in ("pancreas", "pons", "lungs", "mass")] == [False, False, True, False]


def test_an_abbreviation_ends_no_sentence() -> None:
    assert len(sentences("Chronic sinusitis vs. hemorrhage. Seen by Dr. X, e.g. here.")) == 2
