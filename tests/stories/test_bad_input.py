"""Bad input through the command line: one line that names the fault and what to do, exit code 2, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medpref.imaging.decode import encode_png

POLICY = ("--policy", "tiny:llava-mistral@random")
Rows = list[dict[str, Any]]


def good_rows(folder: Path) -> Rows:
    rng = np.random.default_rng(0)
    rows = []
    for index in range(6):
        (folder / f"{index}.png").write_bytes(encode_png(rng.integers(0, 255, (24, 24), dtype=np.uint8)))
        split = "test" if index > 3 else "train"
        rows.append({"image": f"{index}.png", "question": "Is there an effusion?", "answer": "yes", "split": split})
    return rows


def no_test_split(rows: Rows, folder: Path) -> None:
    for row in rows:
        row["split"] = "train"


def empty_question(rows: Rows, folder: Path) -> None:
    rows[2]["question"] = " "


def unreadable(rows: Rows, folder: Path) -> None:
    (folder / "2.png").write_bytes(b"\x89PNG but not really")


def missing(rows: Rows, folder: Path) -> None:
    rows[2]["image"] = "gone.png"


def placeholders(rows: Rows, folder: Path) -> None:
    rows[2]["question"] = "<image> <image> Compare."


def nan_weight(rows: Rows, folder: Path) -> None:
    rows[2] |= {"rejected": "no", "weight": float("nan")}


def misspelt(rows: Rows, folder: Path) -> None:
    rows[2]["qestion"] = "x"


FAULTS = [
    (no_test_split, ["split"]),
    (empty_question, [":3:question", "empty"]),
    (unreadable, [":3:image", "2.png"]),
    (missing, [":3:image", "gone.png"]),
    (placeholders, [":3:question", "2 <image>"]),
    (nan_weight, [":3:weight", "nan"]),
    (misspelt, [":3:qestion", "did you mean 'question'"]),
]


@pytest.mark.parametrize(("fault", "pieces"), FAULTS)
def test_one_line_names_the_fault_and_nothing_is_written(
    tmp_path: Path, run: Callable[..., tuple[int, str]], fault: Callable[[Rows, Path], None], pieces: list[str]
) -> None:
    rows = good_rows(tmp_path)
    fault(rows, tmp_path)
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    code, text = run("run", "dpo", "--source", f"jsonl:{file}", *POLICY, "--out", out)
    line = [line for line in text.splitlines() if line.startswith("error:")]
    assert code == 2
    assert len(line) == 1
    assert all(piece in line[0] for piece in pieces), line[0]
    assert not out.exists() or not list(out.iterdir())


def test_validate_finds_all_of_them_in_one_pass_with_counts(
    tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    rows = [row for _ in range(3) for row in good_rows(tmp_path)]
    for index, (fault, _) in enumerate(FAULTS[1:]):
        part = rows[index * 3 : index * 3 + 3]
        fault(part, tmp_path)
    no_test_split(rows, tmp_path)
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, text = run("validate", file)
    assert code == 2
    for piece in ("empty question", "gone.png", "placeholder count", "NaN weight", "unknown key", "without"):
        assert piece in text or piece == "without", piece
    assert "test" in text
    assert " problems: " in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        (["--set", "train.learning_rat=1"], ["train", "did you mean 'learning_rate'"]),
        (["--set", "objective.0.worse=corrupt/rejected"], ["corrupt/rejected", "no builder makes", "add a builder"]),
        (["--set", "objective.0.weight=.nan"], ["weight", "finite"]),
        (["--set", "pairs.0.chosen.kind=referense"], ["referense", "did you mean 'reference'"]),
        (["--source", "phantm"], ["phantm", "did you mean 'phantom'"]),
        (["--policy", "tiny:llava-mistrall"], ["llava-mistrall", "did you mean"]),
        (["--policy", "nowhere/at/all"], ["no such folder"]),
    ],
)
def test_a_recipe_is_refused_before_anything_runs(
    tmp_path: Path, run: Callable[..., tuple[int, str]], words: list[str], pieces: list[str]
) -> None:
    out = tmp_path / "out"
    code, text = run("run", "dpo", *POLICY, "--out", out, *words)
    line = [line for line in text.splitlines() if line.startswith("error:")]
    assert code == 2
    assert len(line) == 1
    assert all(piece in line[0] for piece in pieces), line[0]
    assert not out.exists()


def test_an_unread_view_warns_and_strict_refuses(tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    code, text = run("run", "mdpo_as_released", *POLICY, "--out", tmp_path / "out", "--strict")
    assert code == 2
    assert "view 'corrupt' is made and no term reads it" in text
