"""Names and numbers as readers see them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.report.words import KNOWN, headline, is_headline, metric_words, model_label, number, p_value


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (0.1234, {"percent": True}, "12.3"),
        (-0.0834, {"percent": True, "signed": True}, "−8.3"),
        (0.5, {"signed": True}, "+0.500"),
        (0.0, {"signed": True}, "0.000"),
        (-0.00001, {"percent": True}, "0.0"),
        (123.456, {}, "123.5"),
        (None, {}, "—"),
    ],
)
def test_number(value: float | None, options: dict[str, bool], text: str) -> None:
    assert number(value, **options) == text


@settings(deadline=None, max_examples=80)
@given(st.floats(-1, 1, allow_nan=False))
def test_a_percentage_is_right_to_half_of_its_last_digit(value: float) -> None:
    assert abs(float(number(value, percent=True).replace("−", "-")) / 100 - value) <= 0.0005 + 1e-9


def test_p_values_have_no_false_precision() -> None:
    assert [p_value(p) for p in (0.00099, 0.001, 0.05, 1.0, None)] == ["< 0.001", "0.001", "0.050", "1.000", "—"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("base", "Base"),
        ("sft", "SFT"),
        ("sft_control", "SFT control"),
        ("control", "SFT control"),
        ("mmedpo_sft_control", "Control (mmedpo)"),
        ("fire_mpo", "fire_mpo"),
        ("fire_mpo_control", "fire_mpo_control"),
    ],
)
def test_model_label(name: str, label: str) -> None:
    assert model_label(name) == label


@pytest.mark.parametrize(
    ("name", "percent", "better"),
    [
        ("unsupported_claim_rate", True, "lower"),
        ("closed_yes_rate", True, "neither"),
        ("grounding_drop", False, "higher"),
        ("my_judge_accuracy", True, "higher"),
        ("hallucination_rate", True, "lower"),
        ("cider", False, "higher"),
        ("finding_recall_absent", True, "higher"),
        ("reply_length", False, "neither"),
    ],
)
def test_unit_and_direction(name: str, percent: bool, better: str) -> None:
    words = metric_words(name)
    assert (words.percent, words.better) == (percent, better)


def test_acronyms_keep_their_capitals() -> None:
    assert metric_words("finding_f1_present").label == "Finding F1 present"


def test_a_slice_speaks_of_its_metric() -> None:
    words = metric_words("overall_accuracy@shortcut=broken")
    assert words.label == "Accuracy, shortcut broken"
    assert words.percent


def test_headlines_come_in_a_fixed_order_and_legacy_scores_never_lead() -> None:
    assert headline(["open_f1", "overall_accuracy", "legacy_open_recall"]) == ["overall_accuracy", "open_f1"]
    assert headline(["legacy_open_recall", "my_metric"]) == ["my_metric"]
    assert is_headline("overall_accuracy@view=AP")
    assert not is_headline("legacy_open_recall")


def test_every_known_metric_has_a_label_of_its_own() -> None:
    labels = [words.label for words in KNOWN.values()]
    assert len(set(labels)) == len(labels)
