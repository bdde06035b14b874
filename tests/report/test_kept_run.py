"""A run folder that was kept (``make_fixture.py``): its numbers follow from its verdicts, and its report can be made.

Where these fail because the layout of a run changed on purpose, older runs can no longer be read as they were: make the
fixture again with ``python -m tests.report.make_fixture`` and say so in the commit.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from medpref import store
from medpref.confidence import risk_of
from medpref.evaluation.attention import layer_curve
from medpref.evaluation.compare import compare
from medpref.evaluation.drift import chosen_drift
from medpref.evaluation.estimate import estimates
from medpref.evaluation.robustness import curves
from medpref.report.page import write_report
from medpref.schema import VerdictRow
from medpref.summary import compared_slices
from medpref.table import print_table
from tests.report.make_fixture import FIXTURE
from tests.report.test_page import Outline

MODELS = ("base", "sft", "mdpo", "sft_control")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(root, filter="data")
    return root


def rows_of(kept: Path, model: str) -> list[VerdictRow]:
    return store.read_lines(kept / "eval" / model / "verdicts.jsonl", VerdictRow)


def same(found: Any, held: Any) -> bool:
    """Equal values and equal keys in equal order; numbers to nine digits, for other machines' arithmetic."""
    if isinstance(held, dict):
        return isinstance(found, dict) and found.keys() == held.keys() and all(same(found[k], held[k]) for k in held)
    if isinstance(held, list):
        return len(found) == len(held) and all(map(same, found, held))
    if isinstance(held, float):
        return bool(found == pytest.approx(held, rel=1e-9, abs=1e-12))
    return bool(found == held)


def test_it_is_small_and_names_no_place() -> None:
    assert FIXTURE.stat().st_size < 300_000
    with tarfile.open(FIXTURE) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            data = file.read()
            assert member.name.endswith(".png") or not any(place in data for place in (b"/home/", b"/tmp/", b"/root/"))


@pytest.mark.parametrize("model", MODELS)
def test_estimates_are_recomputed_from_verdicts_alone(kept: Path, model: str) -> None:
    held = store.read_json(kept / "eval" / model / "estimates.json")
    assert len(held["estimates"]) > 500
    assert same(estimates(rows_of(kept, model), seed=0), held["estimates"])


@pytest.mark.parametrize("model", MODELS)
def test_curves_and_the_training_alarm_are_recomputed_from_what_is_stored(kept: Path, model: str) -> None:
    folder = kept / "eval" / model
    rows = store.read_lines(folder / "robustness.jsonl", VerdictRow)
    assert same(curves(rows, seed=0), store.read_json(folder / "robustness.json"))
    assert same(layer_curve(rows_of(kept, model), seed=0), store.read_json(folder / "attention.json"))
    log = kept / "train" / model / "steps.jsonl"
    steps = [row for _, row in store.iter_lines(log)] if log.exists() else []
    alarms = store.read_json(folder / "estimates.json")["alarms"]
    assert [one for one in alarms if one["name"] == "chosen_log_prob"] == [one._asdict() for one in chosen_drift(steps)]
    assert bool(steps) == (model != "base")


def test_comparisons_and_confidence_are_recomputed_too(kept: Path) -> None:
    assert same(risk_of(kept / "eval"), store.read_json(kept / "report" / "risk_coverage.json"))
    held = store.read_json(kept / "eval" / "comparisons" / "comparisons.json")
    assert held
    rows = {model: rows_of(kept, model) for model in MODELS}
    couples = dict.fromkeys((row["a"], row["b"]) for row in held)
    slices = compared_slices(rows["base"])
    found = [{"a": a, "b": b, **one} for a, b in couples for one in compare(rows[a], rows[b], seed=0, slices=slices)]
    assert same(found, held)


def test_the_summary_says_what_the_evaluations_say(kept: Path) -> None:
    summary = store.read_json(kept / "summary.json")
    assert set(summary["models"]) == set(MODELS)
    for model, metrics in summary["models"].items():
        for row in store.read_json(kept / "eval" / model / "estimates.json")["estimates"]:
            if (row["kind"], row["slice"]) == ("all", "all"):
                assert metrics[row["metric"]]["value"] == row["value"]


def test_a_report_is_made_of_it(kept: Path, tmp_path: Path) -> None:
    counts = write_report(kept, tmp_path, curves=risk_of(kept / "eval"))
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    held = Outline(text)
    assert held.open == []
    sections = ("findings", "results", "differences", "types", "confidence", "robustness", "attention", "alarms")
    assert {*sections, "training", "data", "pairs", "wrong", "cost"} <= set(held.ids)
    assert (counts["models"], counts["pairs"]) == (4, 12)
    assert counts["wrong_answers"] > 0
    assert counts["pictures"] > 2 * counts["wrong_answers"], "images and maps"
    assert "Chosen log prob" in text.partition('id="alarms"')[2]


def test_the_table_at_the_end_names_the_alarms_that_warn(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(kept)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("alarm ")]
    found: dict[str, list[str]] = {}
    for model in store.read_json(kept / "summary.json")["models"]:
        for one in store.read_json(kept / "eval" / model / "estimates.json")["alarms"]:
            if one["level"] == "warn":
                found.setdefault(one["name"], []).append(model)
    assert found
    assert said == [f"alarm {name}: {', '.join(models)}" for name, models in found.items()]
