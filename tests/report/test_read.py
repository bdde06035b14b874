"""Reading a run folder: everything that is there, nothing that is not, and errors that name their line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medpref import store
from medpref.errors import ArtifactError, DataError
from medpref.report.read import read_head, read_run
from medpref.report.values import Run, is_synthetic


def test_models_come_in_the_order_of_the_run(run: Run) -> None:
    assert [model.name for model in run.models] == ["base", "sft", "mmedpo_sft_control", "mmedpo", "fire_mpo"]
    assert [arm.name for arm in run.arms] == ["sft", "mmedpo_sft_control", "mmedpo", "fire_mpo"]
    assert [held.name for held in run.pair_sets] == ["mmedpo", "fire_mpo"]


def test_counts_are_those_of_the_files(run: Run, run_root: Path) -> None:
    rows = [row for _, row in store.iter_lines(run_root / "examples" / "examples.jsonl")]
    assert sum(run.dataset.splits.values()) == len(rows)
    assert run.dataset.patients == {"test": 4, "train": 8}
    assert all(len(held.pairs) == 10 for held in run.pair_sets)
    assert run.pair_sets[0].dropped == {
        "noise: write: chosen and rejected say the same": 7,
        "noise: write: no region was found": 3,
    }
    assert len(run.arms[0].steps) == 120


def test_only_examples_that_something_speaks_of_are_held(run: Run) -> None:
    wanted = {pair.example for held in run.pair_sets for pair in held.pairs}
    wanted |= {reply.example for model in run.models for reply in model.replies}
    assert set(run.dataset.examples) == wanted


def test_examples_that_instructions_made_are_held_where_a_pair_speaks_of_them(run_root: Path, tmp_path: Path) -> None:
    shutil.copytree(run_root, tmp_path / "run")
    rows = [row for _, row in store.iter_lines(tmp_path / "run/examples/examples.jsonl")]
    pairs = [row for _, row in store.iter_lines(tmp_path / "run/pairs/mmedpo/pairs.jsonl")]
    made = [{**rows[0], "id": "made"}, {**rows[0], "id": "of no pair"}]
    store.write_lines(tmp_path / "run/instructions/examples.jsonl", made)
    store.write_lines(tmp_path / "run/pairs/mmedpo/pairs.jsonl", [{**pairs[0], "example": "made"}, *pairs[1:]])
    held = read_run(tmp_path / "run").dataset
    assert "made" in held.examples
    assert "of no pair" not in held.examples
    assert sum(held.splits.values()) == len(rows)


def test_a_head_has_estimates_but_no_rows(run_root: Path, run: Run) -> None:
    head = read_head(run_root)
    assert [model.measures for model in head.models] == [model.measures for model in run.models]
    assert not any(model.replies or model.verdicts for model in head.models)
    assert not any(held.pairs for held in head.pair_sets)


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"expected a run folder"):
        read_run(tmp_path)


def test_a_run_under_way_is_read_as_far_as_it_is(tmp_path: Path, run_root: Path) -> None:
    shutil.copy(run_root / "run.json", tmp_path / "run.json")
    (tmp_path / "pairs" / "x.partial").mkdir(parents=True)
    run = read_run(tmp_path)
    assert run.pair_sets == run.models == run.arms == ()
    assert is_synthetic(run)


def test_a_model_without_its_folder_is_taken_from_the_summary(tmp_path: Path) -> None:
    cell = {"value": 0.5, "low": 0.4, "high": 0.6, "items": 10, "clusters": 5}
    metrics = {"overall_accuracy": cell, "overall_accuracy@shortcut=broken": cell, "overall_accuracy@kind=side": cell}
    store.write_json(tmp_path / "summary.json", {"models": {"base": metrics}, "synthetic": False})
    run = read_run(tmp_path)
    parts = {(held.metric, held.kind, held.slice) for held in run.models[0].measures}
    assert parts == {
        (("overall_accuracy"), *part) for part in (("all", "all"), ("all", "shortcut=broken"), ("side", "all"))
    }
    assert not is_synthetic(run)


def test_comparisons_are_no_model(run: Run, run_root: Path) -> None:
    assert (run_root / "eval" / "comparisons").is_dir()
    assert "comparisons" not in [model.name for model in run.models]


def test_replies_to_other_views_are_left_aside(tmp_path: Path, run_root: Path) -> None:
    shutil.copytree(run_root / "eval" / "base", tmp_path / "eval" / "base")
    shutil.copy(run_root / "run.json", tmp_path)
    path = tmp_path / "eval" / "base" / "replies.jsonl"
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"example": "x", "text": "Blind.", "view": "blind"}) + "\n")
    assert "Blind." not in [reply.text for reply in read_run(tmp_path).models[0].replies]


def test_a_bad_row_is_named(tmp_path: Path, run_root: Path) -> None:
    shutil.copytree(run_root / "eval" / "base", tmp_path / "eval" / "base")
    shutil.copy(run_root / "run.json", tmp_path)
    path = tmp_path / "eval" / "base" / "verdicts.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"example": 3}\n', encoding="utf-8")
    count = len(path.read_text(encoding="utf-8").splitlines())
    with pytest.raises(DataError, match=rf"verdicts\.jsonl:{count}"):
        read_run(tmp_path)


def test_unknown_keys_of_other_stages_are_left_aside(tmp_path: Path) -> None:
    row = {
        "metric": "m",
        "value": 1.0,
        "low": 1.0,
        "high": 1.0,
        "items": 1,
        "clusters": 1,
        "kind": "all",
        "slice": "all",
    }
    held = {"model": "base", "estimates": [{**row, "new": 1}], "alarms": [{"name": "a", "level": "warn", "new": 2}]}
    store.write_json(tmp_path / "eval" / "base" / "estimates.json", held)
    store.write_json(tmp_path / "run.json", {"recipes": ["dpo"]})
    (model,) = read_run(tmp_path).models
    assert model.measures[0].value == 1.0
    assert model.alarms[0].level == "warn"
