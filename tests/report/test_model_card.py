"""A model card says what the run says, and what nobody knows it calls unknown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from medpref import store
from medpref.errors import ArtifactError
from medpref.report.model_card import is_non_commercial, licences, write_model_card
from medpref.report.values import Run
from medpref.report.words import number


@pytest.fixture
def card(run_root: Path, tmp_path: Path) -> str:
    return write_model_card(run_root, "mmedpo", tmp_path).read_text(encoding="utf-8")


def test_the_front_matter_is_yaml(card: str) -> None:
    front = yaml.safe_load(card.split("---")[1])
    assert front["pipeline_tag"] == "image-text-to-text"
    assert "not-for-clinical-use" in front["tags"]
    assert "synthetic" in front["tags"]


def test_every_result_has_its_interval(card: str, run: Run) -> None:
    (model,) = (held for held in run.models if held.name == "mmedpo")
    (held,) = (m for m in model.measures if (m.metric, m.kind, m.slice) == ("overall_accuracy", "all", "all"))
    value, low, high = (number(x, percent=True) for x in (held.value, held.low, held.high))
    assert f"| Accuracy, % | {value} | {low} to {high} | {held.items} in {held.clusters} |" in card
    assert "### mmedpo minus Control (mmedpo)" in card
    assert "### fire_mpo minus" not in card


def test_it_says_what_it_is_not_for(card: str) -> None:
    assert "**Not for clinical use.**" in card
    assert "say nothing about clinical performance" in card
    assert "## Intended use" in card
    assert "## Out of scope" in card
    assert "no patient's image" in card


def test_tables_have_as_many_cells_as_heads(card: str) -> None:
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {5, 6}
    assert len(rows) > 8


def test_a_control_is_not_called_aligned(run_root: Path, tmp_path: Path) -> None:
    text = write_model_card(run_root, "mmedpo_sft_control", tmp_path / "card.md").read_text(encoding="utf-8")
    assert "trained on likelihood alone" in text
    assert "aligned with preference optimization by" not in text


def test_an_unknown_arm_is_named_with_the_nearest(run_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"did you mean 'mmedpo'"):
        write_model_card(run_root, "mmedp", tmp_path)


def _real(root: Path, run_root: Path) -> Path:
    for folder in ("examples", "pairs", "train"):
        shutil.copytree(run_root / folder, root / folder)
    store.write_json(
        root / "run.json", {"recipes": ["mmedpo"], "source": "pack:x", "policy": "hf:org/model", "seed": 3}
    )
    return root


def test_an_unknown_licence_is_called_unknown(run_root: Path, tmp_path: Path) -> None:
    text = write_model_card(_real(tmp_path, run_root), "mmedpo", tmp_path / "c.md").read_text(encoding="utf-8")
    assert "Licence of the data: not recorded in the run." in text
    assert yaml.safe_load(text.split("---")[1])["base_model"] == "org/model"
    assert "Not evaluated." in text


def test_licences_come_from_examples_and_pairs(run_root: Path, tmp_path: Path) -> None:
    root = _real(tmp_path, run_root)
    path = root / "examples" / "examples.jsonl"
    rows = [row for _, row in store.iter_lines(path)]
    rows[0]["tags"]["license"] = "CC-BY-NC-SA-4.0"
    store.write_lines(path, rows)
    pairs = root / "pairs" / "mmedpo" / "pairs.jsonl"
    held = [row for _, row in store.iter_lines(pairs)]
    held[0]["provenance"]["license"] = {"image": "CC0-1.0", "text": "Apache-2.0"}
    store.write_lines(pairs, held)
    assert licences(root) == ["Apache-2.0", "CC-BY-NC-SA-4.0", "CC0-1.0"]
    text = write_model_card(root, "mmedpo", tmp_path / "c.md").read_text(encoding="utf-8")
    assert "Apache-2.0, CC-BY-NC-SA-4.0, CC0-1.0" in text
    assert "forbids commercial use" in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CC-BY-NC-4.0", True),
        ("cc_by_nc_sa", True),
        ("Non-commercial research", True),
        ("CC-BY-4.0", False),
        ("NCSA", False),
    ],
)
def test_non_commercial(name: str, expected: bool) -> None:
    assert is_non_commercial([name]) is expected
