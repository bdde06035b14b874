"""Traps that fool the literature's scoring: each must fool the legacy metric and not ours."""

import pytest

from medpref.evaluation.estimate import estimates
from medpref.evaluation.findings import report_rows
from medpref.evaluation.vqa import answer_rows
from medpref.schema import Fact
from tests.evaluation.test_vqa import example, values


def overall(rows):
    found = estimates(rows, seed=0)
    return {row["metric"]: row["value"] for row in found if row["kind"] == "all" and row["slice"] == "all"}


def test_no_inside_normal():
    found = values(example("no", question="Is there an effusion?"), "The chest is normal in appearance, unremarkable.")
    assert found["legacy_closed_substring"] == 1.0
    assert found["closed_accuracy"] == 0.0
    undecided = values(example("no"), "It cannot be determined.")
    assert undecided["legacy_closed_substring"] == 1.0
    assert undecided["closed_accuracy"] == 0.0


def test_a_reply_that_says_both():
    side = example("left", choices=("left", "right"), kind="side", question="Which side?")
    for answer in ("left", "right"):
        found = values(side.model_copy(update={"answer": answer}), "left or right")
        assert found["legacy_closed_substring"] == 1.0
        assert found["closed_accuracy"] == 0.0


def test_label_spraying():
    organs = "lung heart liver spleen kidney brain breast bone stomach pelvis"
    found = values(example("heart", answer_type="open", choices=()), organs)
    assert found["legacy_open_recall"] == 1.0
    assert found["open_exact"] == 0.0
    assert found["open_f1"] < 0.2


def test_a_word_said_twice():
    found = values(example("left lung", answer_type="open", choices=()), "lung lung lung lung")
    assert found["legacy_open_recall"] == pytest.approx(0.8)
    assert found["open_recall"] == 0.5


def test_a_constant_answer_on_a_skewed_set():
    rows = []
    for number in range(40):
        one = example("no" if number % 10 else "yes", name=str(number)).model_copy(update={"patient": f"p{number}"})
        rows += answer_rows(one, "No.", "no")
    found = overall(rows)
    assert found["legacy_closed_substring"] == pytest.approx(0.9)
    assert found["closed_balanced_accuracy"] == 0.5
    assert found["closed_mcc"] == 0.0
    assert found["gain_over_constant"] == 0.0


REPORTS = [
    "There is a right pneumothorax. No pleural effusion. No consolidation.",
    "Large left pleural effusion. No pneumothorax. No consolidation.",
    "There is consolidation in the left lower zone. No pneumothorax. No pleural effusion.",
]
TEMPLATE = "The heart size is normal. No pneumothorax. No pleural effusion. No consolidation."


def test_the_normal_report_template():
    rows = []
    for number, text in enumerate(REPORTS):
        one = example(text, answer_type="report", kind="report", name=str(number))
        rows += report_rows(one.model_copy(update={"patient": f"p{number}"}), TEMPLATE)
    found = overall(rows)
    assert found["finding_recall_absent"] == 1.0
    assert found["finding_recall_present"] == 0.0
    assert found["finding_f1_present"] == 0.0


def test_an_invented_finding_that_the_reference_is_silent_about():
    one = example("There is a right pneumothorax.", answer_type="report", kind="report")
    rows = report_rows(one, "There is a right pneumothorax. There is a nodule.")
    assert rows[0].evidence["unsupported"] == "1"
    assert "nodule" in rows[0].reason
    known = one.model_copy(update={"facts": (Fact(finding="nodule"),)})
    assert report_rows(known, "There is a right pneumothorax. There is a nodule.")[0].evidence["unsupported"] == "0"


def test_findings_by_hand():
    one = example("Left pleural effusion. No pneumothorax.", answer_type="report", kind="report")
    row = report_rows(one, "Left pleural effusion. There is a pneumothorax. No consolidation.")[0]
    counts = {key: int(value) for key, value in row.evidence.items() if key.startswith(("present", "absent"))}
    assert counts == {
        "present_hits": 1,
        "present_claimed": 2,
        "present_reference": 1,
        "absent_hits": 0,
        "absent_claimed": 1,
        "absent_reference": 1,
    }
    assert row.value == pytest.approx(2 / 3)
    silent = report_rows(example("Lines in place.", answer_type="report"), "Nothing.")[0]
    assert silent.value is None
