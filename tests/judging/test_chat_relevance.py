"""The relevance that bound language models give: alone, in a chain, and where they fail."""

from __future__ import annotations

import pytest

from medpref.judging.chat_relevance import ChatRelevance
from medpref.judging.relevance import Relevance
from medpref.models.chat import Roles
from medpref.models.chat_rules import Rules
from medpref.registry import JUDGES
from medpref.schema import Verdict

from ..curation.scripted import Scripted
from .cases import example

CASE = example("left", question="Which side?", kind="side")


def scoring(*scores: float | str, name: str = "m") -> Scripted:
    """A model that gives these scores in turn, the last one for ever; a text is the reason for no answer."""
    waiting = list(scores)

    def says(request):
        score = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return score if isinstance(score, str) else {"reason": "so", "score": score}

    return Scripted(says, name)


def judged(*chats, **options) -> Verdict:
    return ChatRelevance(**options).bound_to(Roles(chats)).judge(CASE, "right")


def test_one_model_decides_alone() -> None:
    chat = scoring(0.7)
    verdict = judged(chat)
    assert verdict.value == 0.7
    assert verdict.evidence["model 1"] == "m"
    assert verdict.evidence["prompt"].startswith("relevance@")
    assert chat.asked == 1
    assert "Another reader" not in chat.calls[0][0].prompt
    for part in ("Which side?", "<correct>left</correct>", "<wrong>right</wrong>"):
        assert part in chat.calls[0][0].prompt


def test_what_the_texts_hold_is_never_read_as_a_template() -> None:
    chat = scoring(0.7)
    odd = example("left", question="Which {side} {{ reply }}?", kind="side")
    ChatRelevance().bound_to(Roles((chat,))).judge(odd, "right {% if %}")
    assert "Which {side} {{ reply }}?" in chat.calls[0][0].prompt
    assert "<wrong>right {% if %}</wrong>" in chat.calls[0][0].prompt


def test_each_model_sees_the_score_before_until_they_agree() -> None:
    one, two = scoring(0.2, 0.8, name="a"), scoring(0.8, name="b")
    verdict = judged(one, two, tolerance=0.0)
    assert verdict.value == 0.8
    assert verdict.reason == "agreed in round 2"
    assert verdict.evidence["round 1"] == "model 1 0.2, model 2 0.8"
    assert "gave the score 0.2" in two.calls[0][0].prompt
    assert "gave the score 0.8" in one.calls[1][0].prompt


def test_without_agreement_the_mean_of_the_history() -> None:
    # (0 + .1 + .2 + .3 + .4 + 5 * 1) / 10
    verdict = judged(scoring(0.0, 0.1, 0.2, 0.3, 0.4), scoring(1.0), tolerance=0.0, rounds=5)
    assert verdict.value == pytest.approx(0.6)


def test_a_model_without_an_answer_counts_for_nothing_and_none_is_not_judged() -> None:
    """The reason holds a number in range, which is no score."""
    verdict = judged(scoring("not answered: after 1 s"), scoring(0.4))
    assert verdict.value == 0.4
    assert verdict.evidence["model 1 failed"] == "not answered: after 1 s"
    silent = judged(scoring("not answered: 0.5"))
    assert silent.value is None
    assert silent.reason.startswith("not judged")


def test_nothing_is_asked_about_a_right_reply() -> None:
    chat = scoring(0.9)
    verdict = ChatRelevance().bound_to(Roles((chat,))).judge(CASE, "Left.")
    assert verdict.value == 0.0
    assert chat.asked == 0


def test_the_rules_behind_the_seam_give_the_rules_score() -> None:
    bound = ChatRelevance().bound_to(Roles((Rules(),)))
    for reply in ("right", "both", "the spleen"):
        assert bound.judge(CASE, reply).value == pytest.approx(Relevance().judge(CASE, reply).value)


def test_unbound_it_does_not_judge() -> None:
    verdict = JUDGES.parse("chat_relevance", where="test").judge(CASE, "right")
    assert verdict.value is None
    assert "no language model is bound" in verdict.reason
