"""Facts labelled by a bound model: its labels count, its silence counts nowhere, the rules answer as ever."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest

from medpref import store
from medpref.errors import ModelError, RecipeError
from medpref.evaluation.asked_facts import asked_by, asked_rows, read_rows
from medpref.evaluation.evaluate import carry_out
from medpref.models.chat import Roles
from medpref.models.chat_cache import CachedChat
from medpref.models.chat_rules import Rules
from medpref.models.chat_store import AnswerStore
from medpref.recipe import Evaluation, load_recipe
from medpref.roles import bind_roles, judge_of
from medpref.run import RunConfig
from medpref.schema import VerdictRow
from medpref.stages import evaluate_stage
from tests.curation.scripted import Scripted
from tests.evaluation.studies import Seer
from tests.evaluation.test_evaluate import plan_of
from tests.evaluation.test_vqa import example

REFERENCE = "There is a small left pleural effusion. No pneumothorax."


def report(answer: str = REFERENCE, **fields: Any) -> Any:
    return example(answer, answer_type="report").model_copy(update=fields)


def values(says: Any, reply: str = "Some fluid.") -> dict[str, VerdictRow]:
    one = report()
    (rows,) = asked_rows([one], {one.id: reply}, roles=Roles((Scripted(says, "m"),)))
    return {row.metric: row for row in rows}


def test_the_model_s_labels_by_hand() -> None:
    found = values(lambda request: {"labels": ["partial", "contradiction"]})
    assert found["fact_completeness"].value == 0.25
    assert found["fact_contradiction"].value == 0.5
    evidence = found["fact_completeness"].evidence
    assert evidence["model"] == "m"
    assert evidence["prompt"].startswith("facts@")


@pytest.mark.parametrize("said", ["refused", {"labels": ["entailment"]}, {"labels": ["neutral"] * 3}])
def test_an_answer_that_labels_not_every_fact_judges_none(said: Any) -> None:
    found = values(lambda request: said)
    assert found["fact_completeness"].value is None
    assert found["fact_contradiction"].value is None
    assert found["fact_completeness"].evidence["not_judged"] == "2"


def test_the_question_holds_facts_and_report_and_not_the_reference_s_words() -> None:
    chat = Scripted(lambda request: {"labels": ["neutral", "neutral"]})
    one = report(credentialed=True)
    list(asked_rows([one], {one.id: "Odd {{ reply }} {% if %}"}, roles=Roles((chat,))))
    (request,) = chat.calls[0]
    assert "effusion: present; " in request.prompt
    assert "pneumothorax: absent" in request.prompt
    assert "Odd {{ reply }} {% if %}" in request.prompt
    assert request.credentialed


def test_all_questions_go_out_together_and_a_report_without_facts_is_not_asked_about() -> None:
    chat = Scripted(lambda request: {"labels": ["entailment", "entailment"]})
    examples = [report(id="a"), report("Lines.", id="b"), report(id="c")]
    rows = asked_rows(examples, dict.fromkeys("abc", "y"), roles=Roles((chat,)))
    assert [len(call) for call in chat.calls] == [2]
    assert [len(one) for one in rows] == [2, 0, 2]


def test_the_rules_behind_the_seam_label_as_the_reader(tmp_path: Any) -> None:
    seer = Seer(tmp_path)
    plan = plan_of(tmp_path, patients=6)
    held = []
    for name, facts in (("read", read_rows), ("asked", asked_by(Roles((Rules(),))))):
        mine = dataclasses.replace(plan, out=tmp_path / "eval" / f"{name}.partial", facts=facts)
        mine.out.mkdir()
        carry_out(mine, answer=seer.answer, read=seer.read)
        rows = store.read_lines(mine.out / "verdicts.jsonl", VerdictRow)
        held.append([(row.example, row.metric, row.value, row.reason) for row in rows])
    assert held[0] == held[1]
    assert any(metric == "fact_completeness" for _, metric, *_ in held[0])


def test_what_the_model_was_asked_is_counted_in_the_stage_s_manifest(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models are evaluated; both replies are the same, so that the second one's questions have answers already."""
    held = [report(id="a", split="test"), report("No pneumothorax.", id="b", split="test")]
    store.write_lines(tmp_path / "examples" / "examples.jsonl", held)
    chat = CachedChat(Scripted(lambda request: "refused" if "effusion" in request.prompt else {"labels": ["neutral"]}),
                      AnswerStore(tmp_path / ".chat"))  # fmt: skip

    def evaluated(policy: Any, examples: Any, out: Any, *, roles: Roles, **_: Any) -> dict[str, int]:
        if roles.chats:
            asked_rows(examples, dict.fromkeys("ab", "Some fluid."), roles=roles)
        return {"questions": len(examples)}

    monkeypatch.setattr("medpref.stages.loaded", lambda spec: None)
    monkeypatch.setattr("medpref.evaluation.evaluate.evaluate", evaluated)
    settings = Evaluation(facts="judge")
    stage = functools.partial(
        evaluate_stage, tmp_path, policy="p", inputs={}, settings=settings, seed=0, synthetic=True
    )
    bound = {"base": Roles((chat,)), "sft": Roles((chat,)), "none": Roles()}
    counts = [stage(name, roles=roles)["counts"] for name, roles in bound.items()]
    assert [(one["chat_asked"], one["chat_unanswered"]) for one in counts[:2]] == [(2, 1), (0, 0)]
    assert {"chat_tokens_in", "chat_tokens_out", "chat_from_cache"} <= set(counts[0])
    assert counts[2] == {"questions": 2}


@pytest.mark.parametrize("override", ["evaluation.facts=judge", "pairs.0.rejected.by=chat"])
def test_a_second_model_that_nothing_asks_is_refused(tmp_path: Any, override: str) -> None:
    config = RunConfig(recipes=("mmedpo",), source="phantom", policy="tiny:llava-mistral", judge=("rules", "local:b"))
    with pytest.raises(RecipeError, match="--judge local:b: nothing here asks a second model"):
        bind_roles(config, tmp_path, [load_recipe("mmedpo", overrides=[override])])
    weighed = load_recipe("mmedpo", overrides=[override, "pairs.0.judge.kind=chat_relevance"])
    assert len(bind_roles(config, tmp_path, [weighed]).chats) == 2


def test_a_run_that_asks_needs_somebody_to_ask(tmp_path: Any) -> None:
    recipe = load_recipe("dpo", overrides=["evaluation.facts=judge"])
    config = RunConfig(recipes=("dpo",), source="phantom", policy="tiny:llava-mistral")
    with pytest.raises(RecipeError, match="the role judge is used, not bound"):
        bind_roles(config, tmp_path, [recipe])
    with pytest.raises(ModelError, match="nobody is bound"):
        asked_by(Roles())
    roles = bind_roles(config.model_copy(update={"judge": ("rules",)}), tmp_path, [recipe])
    identity, prompt = judge_of(roles)
    assert "rules" in identity
    assert prompt.startswith("facts@")
    assert Evaluation(facts="judge").named()["facts"] == "judge"
    assert "facts" not in Evaluation().named()
