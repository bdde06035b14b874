from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.judging.panel import Panel, consult, parse_score
from medpref.registry import JUDGES
from medpref.schema import Frozen, Verdict

from .cases import example

CASE = example("left")


def scripted(*texts: str):
    """An opinion that gives these texts in turn, and the scores it was shown."""
    waiting, shown = list(texts), []

    def opinion(case, reply, previous):
        shown.append(previous)
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return opinion, shown


def ask(members, **options):
    return consult(members, CASE, "right", **{"rounds": 5, "tolerance": 0.0, "retries": 2, **options})


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("0.8", 0.8),
        ("Score: 1", 1.0),
        ("I would say .5.", 0.5),
        ("0.8 (0.8)", 0.8),
        ("8", None),
        ("nan", None),
        ("0.2 to 0.4", None),
        ("", None),
        ("-0.1", None),
        ("1e-1", 0.1),
    ],
)
def test_a_score_is_the_only_number_in_range(text: str, score: float | None) -> None:
    assert parse_score(text) == score


def test_agreement_in_the_first_round() -> None:
    first, shown_first = scripted("0.6")
    second, shown_second = scripted("0.6")
    verdict = ask({"a": first, "b": second})
    assert verdict.value == 0.6
    assert verdict.reason == "agreed in round 1"
    assert (shown_first, shown_second) == ([None], [0.6])


def test_each_member_sees_the_score_before_its_own_until_they_agree() -> None:
    first, shown_first = scripted("0.2", "0.8")
    second, _ = scripted("0.8")
    verdict = ask({"a": first, "b": second})
    assert verdict.value == 0.8
    assert verdict.reason == "agreed in round 2"
    assert shown_first == [None, 0.8]
    assert verdict.evidence == {"round 1": "a 0.2, b 0.8", "round 2": "a 0.8, b 0.8"}


def test_without_agreement_the_mean_of_the_whole_history() -> None:
    first, shown = scripted("0.0", "0.1", "0.2", "0.3", "0.4")
    verdict = ask({"a": first, "b": scripted("1.0")[0]})
    # (0 + .1 + .2 + .3 + .4 + 5 * 1) / 10
    assert verdict.value == pytest.approx(0.6)
    assert len(shown) == 5
    assert "no agreement in 5 rounds" in verdict.reason


def test_within_the_tolerance_the_mean_of_the_round() -> None:
    verdict = ask({"a": scripted("0.6")[0], "b": scripted("0.7")[0]}, tolerance=0.11)
    assert verdict.value == pytest.approx(0.65)


def test_no_number_is_asked_for_again_and_then_not_judged() -> None:
    opinion, shown = scripted("well", "hm", "0.4")
    assert ask({"a": opinion}).value == 0.4
    assert len(shown) == 3
    silent, shown = scripted("I cannot say")
    verdict = ask({"a": silent})
    assert verdict.value is None
    assert "not judged" in verdict.reason
    assert len(shown) == 3


def test_a_silent_member_counts_for_nothing() -> None:
    assert ask({"a": scripted("no idea")[0], "b": scripted("0.7")[0]}).value == 0.7


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.floats(0, 1))
def test_the_verdict_lies_between_the_lowest_and_the_highest_score(scores: list[float], tolerance: float) -> None:
    members = {str(place): scripted(repr(score))[0] for place, score in enumerate(scores)}
    value = ask(members, tolerance=tolerance).value
    assert value is not None
    assert min(scores) - 1e-9 <= value <= max(scores) + 1e-9


def test_a_panel_of_judges() -> None:
    # relevance 0.9, token F1 0: no agreement, the same scores each round
    verdict = Panel(judges=("relevance", {"kind": "overlap"})).judge(example("left", kind="side"), "right")
    assert verdict.value == pytest.approx(0.45)


class _Listener(Frozen):
    """Says half of the score before its own."""

    kind: Literal["listener"] = "listener"

    def judge(self, case, reply) -> Verdict:
        return Verdict(None, "asked without a panel")

    def opinion(self, case, reply, previous) -> str:
        return "nothing yet" if previous is None else f"score: {previous / 2:g}"


def test_a_judge_with_an_opinion_hears_the_score_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    JUDGES.classes()
    monkeypatch.setitem(JUDGES._classes, "listener", _Listener)
    verdict = Panel(judges=("listener", "relevance", "listener"), rounds=2).judge(example("left", kind="side"), "right")
    assert verdict.evidence["round 1"] == "relevance 2 0.9, listener 3 0.45"
    # what was said last in round 1 is heard first in round 2
    assert verdict.evidence["round 2"] == "listener 1 0.225, relevance 2 0.9, listener 3 0.45"
    assert verdict.value == pytest.approx((0.9 + 0.45 + 0.225 + 0.9 + 0.45) / 5)
