import pytest

from medpref.evaluation.entailment import fact_rows, read_labels
from medpref.language.findings import statements
from tests.evaluation.test_vqa import example

EFFUSION = "There is a small left pleural effusion."


@pytest.mark.parametrize(
    ("fact", "reply", "label"),
    [
        (EFFUSION, EFFUSION, "entailment"),
        (EFFUSION, "Left small pleural effusion is seen.", "entailment"),
        (EFFUSION, "There is a left pleural effusion.", "partial"),
        (EFFUSION, "There is a large left pleural effusion.", "partial"),
        (EFFUSION, "There is a small right pleural effusion.", "contradiction"),
        (EFFUSION, "No pleural effusion.", "contradiction"),
        (EFFUSION, "The heart is enlarged.", "neutral"),
        (EFFUSION, "Possible pleural effusion.", "partial"),
        ("No pneumothorax.", "No pneumothorax.", "entailment"),
        ("No pneumothorax.", "There is a pneumothorax.", "contradiction"),
        ("There is a pneumothorax.", "There is a left pneumothorax.", "entailment"),
    ],
)
def test_labels_by_hand(fact, reply, label):
    assert read_labels(statements(fact), reply) == [label]


def rows(labels):
    one = example(" ".join(["No nodule."] * len(labels)), answer_type="report")
    return {row.metric: row for row in fact_rows(one, "y", lambda facts, reply: labels)}


def test_definitions_by_hand():
    found = rows(["entailment", "partial", "neutral", "contradiction", None])
    assert found["fact_completeness"].value == 1.5 / 4
    assert found["fact_contradiction"].value == 1 / 4
    assert found["fact_completeness"].evidence["not_judged"] == "1"


def test_a_judge_that_fails_is_not_a_model_without_contradictions():
    found = rows([None, None])
    assert found["fact_completeness"].value is None
    assert found["fact_contradiction"].value is None
    assert fact_rows(example("Lines.", answer_type="report"), "y") == []


def test_the_reference_is_complete_and_contradicts_nothing():
    text = (
        "Heart size is normal. Small left pleural effusion. There are two nodules in the right lung. No pneumothorax."
    )
    values = {row.metric: row.value for row in fact_rows(example(text, answer_type="report"), text)}
    assert values == {"fact_completeness": 1.0, "fact_contradiction": 0.0}
