"""Answers say what the facts say, facts say what the arrays say, and neither polarity can be guessed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.schema import Fact
from medpref.sources import phantom_words as words
from medpref.sources.phantom import Batch, phantom_batch
from medpref.sources.phantom_cohort import EFFUSION, GRADES, LESIONS, NODULE, facts
from medpref.sources.phantom_questions import DEFAULT_KINDS, KINDS
from medpref.sources.phantom_study import Asked

EFFUSION_FACT = Fact(finding=EFFUSION, side="right", severity="small")
HEART_FACT = Fact(finding="cardiomegaly", severity="moderate")


def batch_of(seed: int, studies: int = 8, **rest: object) -> Batch:
    return phantom_batch(seed, studies, size_px=96, **rest)  # type: ignore[arg-type]


def expected(asked: Asked, known: dict[str, Fact], batch: Batch) -> str:
    """The right answer, worked out again from the facts by other means than the code under test."""
    fact = known.get(asked.finding)
    if asked.kind == "presence" or asked.choices == ("yes", "no"):
        return "Yes" if fact else "No"
    if asked.kind == "side":
        return {"right": "Right", "left": "Left", "both": "Both"}[fact.side or ""] if fact else "None"
    if asked.kind == "zone":
        return " ".join([(fact.side or "").title(), fact.zone or "", "zone"]) if fact else "None"
    if asked.kind == "severity":
        return (fact.severity or "").title() if fact else "None"
    if asked.kind == "count":
        number = (fact.count or 0 if fact else 0) if asked.finding == NODULE else len(set(known) & set(LESIONS))
        return ["None", "One", "Two", "Three", "Four", "Five", "Six"][number]
    if asked.kind == "view":
        return "AP" if batch.cohort.anteroposterior[asked.study] else "PA"
    if asked.kind == "device":
        return (fact.sign or "").capitalize() if fact else "None"
    raise AssertionError(asked.kind)


@given(seed=st.integers(0, 2**31), shortcut=st.sampled_from([0.0, 0.9]))
@settings(max_examples=12, deadline=None)
def test_answers_agree_with_the_facts(seed: int, shortcut: float) -> None:
    batch = batch_of(seed, shortcut=shortcut)
    for asked in batch.asked:
        known = facts(batch.cohort, asked.study)
        if asked.kind not in ("abnormality", "report"):
            assert asked.answer == expected(asked, known, batch)
        if asked.kind == "abnormality":
            named = {f for f in LESIONS if f in asked.answer.lower()}
            assert named == set(known) & set(LESIONS)
        if asked.choices:
            assert asked.answer.lower() in asked.choices
        present = asked.finding in known or (asked.finding == "any" and bool(set(known) & set(LESIONS)))
        if asked.polarity != "none":
            assert asked.polarity == ("present" if present else "absent")
            assert bool(asked.removed) == present == (asked.counterfactual_answer is not None)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=8, deadline=None)
def test_counterfactual_answers_are_those_of_the_film_without_the_finding(seed: int) -> None:
    batch = batch_of(seed, questions=KINDS)
    for asked in batch.asked:
        if not asked.removed:
            continue
        row = batch.cohort.take(np.array([asked.study])).without(asked.removed)
        known = facts(row, 0)
        if asked.kind in ("abnormality", "report"):
            assert asked.counterfactual_answer == getattr(words, asked.kind)(known)
        elif asked.kind == "region":
            assert (asked.answer.lower(), asked.counterfactual_answer) == (asked.finding, "No abnormality")
        elif asked.kind == "compare":
            assert asked.counterfactual_answer in ("Better", "Unchanged")
        else:
            assert asked.counterfactual_answer == expected(asked, known, batch)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=8, deadline=None)
def test_reports_say_every_finding_and_no_other(seed: int) -> None:
    batch = batch_of(seed, 12, questions=("report",))
    for asked in batch.asked:
        known, text = facts(batch.cohort, asked.study), asked.answer
        assert 3 <= text.count(".") <= 4
        assert ("enlarged" in text) == ("cardiomegaly" in known)
        assert ("No pleural effusion or pneumothorax." in text) == (not {EFFUSION, "pneumothorax"} & set(known))
        for finding in ("consolidation", "atelectasis", "nodule"):
            assert (finding in text) == (finding in known)
        for fact in known.values():
            if fact.zone and fact.count in (None, 1):
                assert f"{fact.side} {fact.zone} zone" in text
            if fact.sign:
                assert fact.sign in text


def test_words_by_hand() -> None:
    known = {EFFUSION: EFFUSION_FACT, "cardiomegaly": HEART_FACT}
    assert words.report(known) == (
        "The heart is moderately enlarged. There is a small right pleural effusion. The lungs are clear."
    )
    assert words.report({}) == "Heart size is normal. No pleural effusion or pneumothorax. The lungs are clear."
    assert words.abnormality(known) == "Cardiomegaly and pleural effusion"
    assert words.abnormality({}) == words.side({}, EFFUSION) == words.zone({}, NODULE) == "None"
    two = {NODULE: Fact(finding=NODULE, side="both", count=2)}
    assert words.report(two).endswith("There are two nodules in both lungs.")
    both = {EFFUSION: EFFUSION_FACT.model_copy(update={"side": "both"}), "pneumothorax": Fact(
        finding="pneumothorax", side="left", severity="large")}  # fmt: skip
    assert "There are small bilateral pleural effusions and a large left pneumothorax." in words.report(both)
    assert words.wording("severity", 0.0, finding=EFFUSION) == "How large is the pleural effusion?"
    assert words.wording("presence", 0.0, finding="atelectasis") == "Is there atelectasis?"


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [(None, "small", "Worse"), ("large", "small", "Better"), ("small", None, "Better"), (None, None, "Unchanged"),
     ("moderate", "moderate", "Unchanged"), ("moderate", "large", "Worse")],
)  # fmt: skip
def test_change_by_hand(before: str | None, after: str | None, answer: str) -> None:
    def known(grade: str | None) -> dict[str, Fact]:
        return {EFFUSION: EFFUSION_FACT.model_copy(update={"severity": grade})} if grade else {}

    assert words.change(known(before), known(after), EFFUSION) == answer


@pytest.fixture(scope="module")
def many() -> Batch:
    return phantom_batch(77, 1000, size_px=64, shortcut=0.9)


def test_both_polarities_of_presence_are_asked_equally_often(many: Batch) -> None:
    """Of each finding about 200 yes and 200 no: four standard errors of a fair coin."""
    for finding in LESIONS:
        counts = Counter(a.answer for a in many.asked if a.kind == "presence" and a.finding == finding)
        assert counts["Yes"] / counts.total() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(counts.total()))
        assert counts.total() > 300


def test_tags_say_what_the_cue_says(many: Batch) -> None:
    for asked in many.asked:
        if asked.kind == "presence" and asked.finding == EFFUSION:
            agrees = (asked.answer == "Yes") == bool(many.cohort.anteroposterior[asked.study])
            assert asked.shortcut == ("aligned" if agrees else "broken")
        if asked.kind == "side" and asked.answer in ("Right", "Left"):
            letter = ("Right", "Left")[many.cohort.marker[asked.study]]
            assert asked.shortcut == ("aligned" if letter == asked.answer else "broken")
        if asked.kind in ("view", "report", "device") or (asked.finding == NODULE and asked.kind == "presence"):
            assert asked.shortcut == "none"


def test_every_answer_of_a_closed_kind_is_given(many: Batch) -> None:
    def answers(kind: str) -> set[str]:
        return {asked.answer for asked in many.asked if asked.kind == kind}

    assert answers("side") == {"Right", "Left", "Both", "None"}
    assert answers("view") == {"AP", "PA"}
    assert answers("severity") == {word.capitalize() for words_ in GRADES.values() for word in words_} | {"None"}
    assert len(answers("zone")) == 7
    assert len(answers("device")) == 6
    per_study = len(many.asked) / 1000
    assert 6 < per_study < 11


def test_a_kind_asks_the_same_whatever_else_is_asked() -> None:
    alone = batch_of(3, questions=("severity",)).asked
    among = [asked for asked in batch_of(3, questions=DEFAULT_KINDS).asked if asked.kind == "severity"]
    assert alone == among


def test_a_batch_is_fresh_for_each_seed_and_part_of_a_stream() -> None:
    whole, part, other = batch_of(1, 6), batch_of(1, 2, first=4), batch_of(2, 6)
    assert np.array_equal(whole.images[4:], part.images)
    assert not np.array_equal(whole.images, other.images)
    assert [a.question for a in part.asked] == [a.question for a in whole.asked if a.study >= 4]


def test_region_questions_show_a_framed_film_and_comparisons_two_films() -> None:
    batch = batch_of(5, 12, questions=("region", "compare"))
    kinds = Counter(asked.kind for asked in batch.asked)
    assert kinds["compare"] == 6
    assert kinds["region"] >= 10
    for asked, shown in zip(batch.asked, batch.shown, strict=True):
        if asked.kind == "compare":
            assert shown == (asked.study - 1, asked.study)
            assert asked.study % 2 == 1
        else:
            assert asked.box is not None
            left, top, right, bottom = asked.box
            changed = np.argwhere(batch.images[shown[0]] != batch.images[asked.study])
            assert changed.min(0).tolist() == [top, left]
            assert changed.max(0).tolist() == [bottom - 1, right - 1]
