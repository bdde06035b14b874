import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.evaluation.vqa import answer_rows, constant_answers, labels, set_f1
from medpref.schema import Example, ImageRef

SHA = "0" * 64


def example(
    answer, *, answer_type="closed", choices=("yes", "no"), kind="presence", name="e", question="Is there a nodule?"
):
    return Example(
        id=name,
        patient="p",
        images=(ImageRef(path="x.png", sha256=SHA),),
        question=question,
        answer=answer,
        split="test",
        kind=kind,
        answer_type=answer_type,
        choices=choices,
        tags={"shortcut": "broken"},
    )


def values(one, reply, constant=None):
    return {row.metric: row.value for row in answer_rows(one, reply, constant)}


@pytest.mark.parametrize(
    ("answer", "reply", "right"),
    [
        ("yes", "Yes, there is a nodule.", 1.0),
        ("no", "Yes, there is a nodule.", 0.0),
        ("no", "There is no nodule.", 1.0),
        ("Yes.", "yes", 1.0),
        ("yes", "banana", 0.0),
    ],
)
def test_closed_by_hand(answer, reply, right):
    assert values(example(answer), reply)["closed_accuracy"] == right


def test_unparsed_is_wrong_and_said_so():
    row = answer_rows(example("yes"), "banana")[0]
    assert (row.value, row.evidence["parsed"]) == (0.0, "")
    assert "no decision" in row.reason
    assert (row.kind, row.patient, row.tags) == ("presence", "p", {"shortcut": "broken"})


def test_choices_are_classes():
    side = example("Left", choices=("left", "right", "both"), kind="side", question="Which side?")
    assert values(side, "It is on the left side.")["closed_accuracy"] == 1.0
    assert values(side, "left right both")["closed_accuracy"] == 0.0


def test_closed_without_choices_compares_normal_forms():
    assert values(example("CT scan", choices=()), "ct scan.")["closed_accuracy"] == 1.0
    assert values(example("CT scan", choices=()), "mri")["closed_accuracy"] == 0.0
    assert values(example("no", choices=()), "There is no mass.")["closed_accuracy"] == 1.0


def test_open_by_hand():
    found = values(example("left lung", answer_type="open"), "The left upper lung.")
    assert found["open_exact"] == 0.0
    assert found["open_recall"] == 1.0
    assert found["open_f1"] == pytest.approx(2 * 2 / 5)
    assert "open_set_f1" not in found
    several = values(example("Lung, liver and spleen", answer_type="open"), "spleen, kidney")
    assert several["open_set_f1"] == pytest.approx(2 * 1 / 5)


def test_labels_split_at_commas_and_and():
    assert labels("the lung, heart and liver; spleen") == ["lung", "heart", "liver", "spleen"]
    assert labels("hand") == ["hand"]


words = st.sets(st.sampled_from(["a", "b", "c", "d"]))


@settings(max_examples=60, deadline=None)
@given(words, words)
def test_set_f1_is_the_harmonic_mean(one, other):
    assert set_f1(one, other) == set_f1(other, one)
    shared = len(one & other)
    if shared:
        precision, recall = shared / len(other), shared / len(one)
        assert set_f1(one, other) == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert set_f1(one, other) == 0.0


def test_the_constant_answer_is_the_train_splits_commonest_by_kind():
    train = [example(a, name=str(i)) for i, a in enumerate(["no", "No.", "yes"])]
    train += [example("left", kind="side", name="s"), example("Right", kind="side", name="t")]
    assert constant_answers(train) == {"presence": "no", "side": "left"}
    found = values(example("no"), "yes", "no")
    assert (found["constant_accuracy"], found["gain_over_constant"]) == (1.0, -1.0)
    assert values(example("yes"), "yes", "no")["gain_over_constant"] == 1.0
    assert "constant_accuracy" not in values(example("yes"), "yes")
