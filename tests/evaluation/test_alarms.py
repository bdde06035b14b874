import pytest

from medpref.evaluation.alarms import alarms, collapse, leakage, length_drift
from medpref.evaluation.vqa import answer_rows
from tests.evaluation.studies import studies


def by_name(found):
    return {alarm.name: alarm for alarm in found}


def test_leakage_counts_images_and_patients(tmp_path):
    test, train = studies(tmp_path, 10), studies(tmp_path, 10, split="train", first=8)
    found = by_name(leakage(test, train))
    assert found["image_leakage"].value == pytest.approx(0.2)
    assert found["patient_leakage"].text.startswith("2 of 10 patients")
    assert found["image_leakage"].level == "warn"
    clean = by_name(leakage(test, studies(tmp_path, 4, split="train", first=50)))
    assert (clean["image_leakage"].value, clean["image_leakage"].level) == (0.0, "ok")


def test_a_constant_reply_warns_where_it_does_not_beat_the_baseline(tmp_path):
    test = [example for example in studies(tmp_path, 10) if example.kind == "presence"]
    replies = {example.id: "no" for example in test}
    rows = [row for example in test for row in answer_rows(example, replies[example.id], "no")]
    found = by_name(alarms(test, replies, [], rows, synthetic=False))
    assert (found["constant_answer/presence"].value, found["constant_answer/presence"].level) == (0.0, "warn")
    assert (found["modal_reply/presence"].value, found["modal_reply/presence"].level) == (1.0, "warn")
    assert "synthetic" not in found
    good = {example.id: example.answer for example in test}
    rows = [row for example in test for row in answer_rows(example, good[example.id], "no")]
    found = by_name(alarms(test, good, [], rows, synthetic=True))
    assert found["constant_answer/presence"].level == found["modal_reply/presence"].level == "ok"
    assert "clinical" in found["synthetic"].text


def test_template_and_drift_of_reports(tmp_path):
    reports = [example for example in studies(tmp_path, 10) if example.kind == "report"]
    template = {example.id: "All normal. " * 20 for example in reports}
    found = by_name([*collapse("report", reports, template), *length_drift("report", reports, template)])
    assert (found["modal_reply/report"].value, found["modal_reply/report"].level) == (1.0, "warn")
    assert found["length_drift/report"].value > 2
    assert found["length_drift/report"].level == "warn"
    found = by_name(alarms(reports, template, [], [], synthetic=False))
    assert (found["distinct_replies/report"].value, found["distinct_replies/report"].level) == (0.1, "ok")
    rich = [example.model_copy(update={"answer": f"Finding {example.id}."}) for example in reports]
    assert by_name(alarms(rich, template, [], [], synthetic=False))["distinct_replies/report"].level == "warn"
