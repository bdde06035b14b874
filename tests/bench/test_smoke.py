"""The shipped smoke grid through the command line, at tiny sizes; then again with one method more, which fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from medpref import cli, store
from medpref.grid import load_grid

SIZES = ("sft.steps=2", "sft.batch=8", "train.steps=2", "train.batch=4", "evaluation.limit=36")
POLICY, SOURCE = "tiny:llava-mistral@random:3", "phantom:studies=10,validation=0,test=10,size_px=96"
ASKED = ("--policy", POLICY, "--source", SOURCE)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    sets = [word for size in SIZES for word in ("--set", size)]
    monkeypatch.setattr("sys.argv", ["medpref", "bench", *words, *ASKED, *sets])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def manifests(out: Path) -> dict[str, float]:
    """Every finished stage below ``out`` with its file's time."""
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("manifest.json")}


def test_the_smoke_grid_runs_resumes_and_survives_a_failing_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "smoke"
    page = tmp_path / "docs" / "results.md"
    chosen = ("--method", "dpo", "--method", "simpo", "--out", str(out))
    assert run(monkeypatch, "phantom_smoke", *chosen, "--markdown", str(page)) == 0
    assert "Leaderboard:" in capsys.readouterr().out
    board: dict[str, Any] = store.read_json(out / "leaderboard.json")
    (table,) = board["tables"]
    assert table["seeds"] == [0, 1]
    rows = {row["name"]: row for row in table["rows"]}
    assert list(rows) == ["base", "sft", "dpo_sft_control", "dpo", "simpo"]
    assert rows["simpo"]["control"] == "dpo_sft_control", "equal pairs and steps share one control"
    assert set(rows["dpo"]["against"]) == {"control", "sft", "base"}
    assert rows["dpo"]["levels"]["grounding_drop"]["seeds"] == 2
    assert "Minus control" in (out / "leaderboard.html").read_text()
    assert (out / "cells" / "index.html").exists()
    assert "medpref bench phantom_smoke --policy" in page.read_text()

    before = manifests(out)
    broken = {"name": "nothing", "recipe": "dpo", "set": ["pairs.0.kinds=[no_such_kind]"]}
    held = load_grid("phantom_smoke").model_dump(mode="json")
    held["methods"] = [*(method for method in held["methods"] if method["name"] in {"dpo", "simpo"}), broken]
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(held))
    assert run(monkeypatch, str(file), "--out", str(out)) == 1
    after = manifests(out)
    again = {name for name in before if after[name] != before[name]}
    assert not [name for name in again if "/report/" not in name and "/comparisons/" not in name], again
    failed = store.read_json(out / "leaderboard.json")
    assert [list(cell["failures"]) for cell in failed["cells"]] == [["nothing"], ["nothing"]]
    assert "no pair came out" in failed["cells"][0]["failures"]["nothing"]
    assert [row["levels"] for row in failed["tables"][0]["rows"]] == [row["levels"] for row in table["rows"]]


def test_a_grid_that_cannot_work_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(
        "name: bad\npolicies: [x]\nsources: [phantom]\n"
        "methods: [{name: d, recipe: dpo, set: ['objective.0.worse=corrupt/x']}]"
    )
    assert run(monkeypatch, str(file), "--out", str(tmp_path / "out")) == 2
    assert "no builder makes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_grid_that_asks_a_model_is_refused_until_one_is_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("phantom_smoke", "--set", "evaluation.facts=judge", "--out", str(tmp_path / "out"), "--dry-run")
    assert run(monkeypatch, *words) == 2
    assert "the role judge is used, not bound" in capsys.readouterr().err
    assert run(monkeypatch, *words, "--judge", "rules") == 0
    assert run(monkeypatch, *words, "--judge", "rules", "--set", "judge.nothing=1") == 2
    assert "unknown key 'nothing'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
