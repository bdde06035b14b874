"""The adapter to radeval, against a stand-in module with that package's call, names and forms of answer (version 2)."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from medpref import store
from medpref.arms import Arm, evaluate
from medpref.errors import ModelError, RecipeError
from medpref.evaluation.chunks import chunks
from medpref.evaluation.clinical import NAMES, clinical_scores, require_radeval, scorer_of, scorers_kept
from medpref.evaluation.estimate import estimates
from medpref.evaluation.evaluate import carry_out
from medpref.recipe import Evaluation, load_recipe
from medpref.run import RunConfig, prepare
from medpref.schema import VerdictRow
from tests.evaluation.studies import Seer
from tests.evaluation.test_evaluate import Killed, files, plan_of
from tests.evaluation.test_vqa import example


class RadEval:
    """Scores by length, with the keys that ``per_sample=True`` gives; counts how often it is made and called.

    ``left``: how many calls it lives.
    """

    made: list[list[str]] = []  # noqa: RUF012
    calls: list[int] = []  # noqa: RUF012
    left = math.inf

    def __init__(self, *, metrics: list[str], per_sample: bool, show_progress: bool) -> None:
        assert per_sample
        assert not show_progress
        self.metrics = metrics
        self.made.append(metrics)

    def __call__(self, refs: list[str], hyps: list[str]) -> dict[str, Any]:
        assert isinstance(refs, list)
        assert isinstance(hyps, list)
        assert all(hyps)
        if len(self.calls) == self.left:
            raise Killed
        self.calls.append(len(hyps))
        values = [min(len(a), len(b)) / max(len(a), len(b)) for a, b in zip(refs, hyps, strict=True)]
        return {key: values for name in self.metrics for key in NAMES[name]}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[RadEval]]:
    module = types.ModuleType("radeval")
    module.RadEval = RadEval  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace(name="radeval")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "radeval", module)
    monkeypatch.setattr(RadEval, "made", [])
    monkeypatch.setattr(RadEval, "calls", [])
    with scorers_kept():
        yield RadEval


def reports(*texts: str) -> tuple[list[Any], dict[str, str]]:
    found = [example("No nodule.", answer_type="report").model_copy(update={"id": f"e{n}"}) for n in range(len(texts))]
    return found, {one.id: text for one, text in zip(found, texts, strict=True)}


def test_each_metric_is_asked_once_and_named_by_us(installed: type[RadEval]) -> None:
    held, replies = reports("No nodule.", "No", "")
    for name, keys in NAMES.items():
        found = clinical_scores(name, held, replies=replies, score=scorer_of(name))
        wanted = [dict.fromkeys(keys.values(), value) for value in (1.0, 0.2, 0.0)]
        assert found == wanted, "an empty reply scores 0, unasked"
    assert installed.made == [[name] for name in NAMES]


def test_what_the_package_could_not_score_is_not_judged() -> None:
    held, replies = reports("a", "b", "c")
    found = clinical_scores("green", held, replies=replies, score=lambda refs, hyps: {"green": [None, math.nan, 0.5]})
    assert found == [{"green": None}, {"green": None}, {"green": 0.5}]


@pytest.mark.parametrize("answer", [{"green": [0.5]}, {"green_score": [0.5, 0.5]}])
def test_another_answer_than_documented_is_an_error(answer: dict[str, list[float]]) -> None:
    held, replies = reports("a", "b")
    with pytest.raises(ModelError, match="radeval green"):
        clinical_scores("green", held, replies=replies, score=lambda refs, hyps: answer)


def test_the_stage_writes_rows_that_estimates_follow_from(tmp_path: Any, installed: type[RadEval]) -> None:
    seer = Seer(tmp_path)
    plan = dataclasses.replace(plan_of(tmp_path, patients=6), clinical={"radgraph": scorer_of("radgraph")})
    carry_out(plan, answer=seer.answer, read=seer.read)
    rows = [
        row for row in store.read_lines(plan.out / "verdicts.jsonl", VerdictRow) if row.metric.startswith("radgraph")
    ]
    assert len(rows) == 3 * len(plan.reports)
    whole = ("radgraph_f1", "all", "all")
    (held,) = [one for one in estimates(rows, seed=0) if (one["metric"], one["kind"], one["slice"]) == whole]
    wanted = [row.value for row in rows if row.metric == "radgraph_f1" and row.value is not None]
    assert held["value"] == pytest.approx(sum(wanted) / len(wanted))
    assert held["low"] <= held["value"] <= held["high"]


def test_killed_inside_a_metric_only_the_missing_reports_are_scored(
    tmp_path: Any, installed: type[RadEval], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medpref.evaluation.chunks.CHUNK", 2)
    clinical = {name: scorer_of(name) for name in ("radgraph", "green")}
    seer = Seer(tmp_path)
    plans = (plan_of(tmp_path, name, patients=6) for name in ("whole", "torn"))
    whole, torn = (dataclasses.replace(plan, clinical=clinical) for plan in plans)
    carry_out(whole, answer=seer.answer, read=seer.read)
    calls = 2 * len(chunks(whole.reports))
    assert installed.calls == [2] * calls == [2] * 6
    monkeypatch.setattr(installed, "left", calls + 4)
    with pytest.raises(Killed):
        carry_out(torn, answer=seer.answer, read=seer.read)
    monkeypatch.setattr(installed, "left", math.inf)
    carry_out(torn, answer=seer.answer, read=seer.read)
    assert len(installed.calls) == 2 * calls, "no report is scored twice"
    before, now = files(whole), files(torn)
    assert now["verdicts.jsonl"] == before["verdicts.jsonl"]
    assert set(now) == set(before)


def test_a_run_loads_a_metric_once_for_all_its_arms_and_lets_it_go(
    tmp_path: Any, installed: type[RadEval], monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluated(*_: Any, **__: Any) -> dict[str, Any]:
        assert scorer_of("green")(["a"], ["a"])
        return {"seconds": 0.0, "counts": {}, "skipped": False}

    monkeypatch.setattr("medpref.stages.evaluate_stage", evaluated)
    config = RunConfig(recipes=("dpo",), source="phantom", policy="tiny:llava-mistral")
    run = prepare(config, tmp_path, lambda line: None)
    run.arms += [Arm("base", "", ""), Arm("sft", "", "")]
    for times in (1, 2):
        evaluate(run, "examples")
        assert installed.made == [["green"]] * times
    assert len(installed.calls) == 4


def test_a_run_that_asks_without_the_package_ends_before_it_begins(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medpref.evaluation.clinical.MODULES", ("no_such_package",))
    with pytest.raises(ModelError, match=r"medpref\[metrics\]"):
        require_radeval()
    config = RunConfig(
        recipes=("dpo",), source="phantom", policy="tiny:llava-mistral", overrides=("evaluation.radeval=[green]",)
    )
    with pytest.raises(ModelError, match=r"medpref\[metrics\]"):
        prepare(config, tmp_path, lambda line: None)


def test_switched_off_the_settings_are_those_of_before() -> None:
    assert set(Evaluation().named()) == {"split", "limit"}
    assert Evaluation(radeval=("green",)).named()["radeval"] == ["green"]
    with pytest.raises(RecipeError, match="radeval"):
        load_recipe("dpo", overrides=["evaluation.radeval=[bleurt]"])
