"""Curation of four papers by rules alone: the same recipe and seed give the same bytes, in any folder and company."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from medpref import store

NEIGHBOURS = """
extends: dpo
name: dpo_neighbours
pairs:
  - name: retrieved
    chosen: {kind: reference}
    rejected: {kind: neighbour}
"""
SMALL = (
    *("--source", "phantom:studies=8,validation=0,test=1,size_px=64", "--policy", "tiny:llava-mistral"),
    *("--seed", "5", "--set", "sft.steps=1", "--set", "sft.batch=4", "--until", "curate"),
)
SHIPPED = ("mmedpo", "chexpo", "fire_mpo", "targeted")
NAMES = (*SHIPPED, "dpo_neighbours")


def curated(folder: Path) -> dict[str, bytes]:
    """Every file of a run's pairs but the manifests, which hold seconds."""
    files = [path for path in sorted((folder / "pairs").rglob("*")) if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(folder / "pairs")): path.read_bytes() for path in files}


def test_the_same_recipes_and_seed_give_the_same_bytes(run, tmp_path: Path) -> None:
    recipe = tmp_path / "dpo_neighbours.yaml"
    recipe.write_text(NEIGHBOURS)
    one, two, alone = (tmp_path / "a" / "one", tmp_path / "two", tmp_path / "alone")
    code, text = run("run", *SHIPPED, recipe, *SMALL, "--out", one)
    assert code == 0, text
    done = re.findall(r"^(examples|train/\w+|replies|pairs/\w+)  ", text, flags=re.MULTILINE)
    assert done == ["examples", "train/sft", "replies", *(f"pairs/{name}" for name in NAMES)]
    # another process, whose strings hash otherwise, and whose recipes come in another order
    command = [sys.executable, "-c", "from medpref.cli import main; main()", "run", str(recipe), *reversed(SHIPPED)]
    env = {**os.environ, "PYTHONHASHSEED": "77", "MEDPREF_PROGRESS": "0"}
    done = subprocess.run([*command, *SMALL, "--out", str(two)], env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    first, second = curated(one), curated(two)
    assert {name.split("/")[0] for name in first} == set(NAMES)
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    for name in NAMES:
        assert {f"{name}/pairs.jsonl", f"{name}/dropped.jsonl", f"{name}/card.json"} <= set(first)
        assert store.read_json(one / "pairs" / name / "card.json")["counts"]["pairs"] > 5
    for name in ("mmedpo", "fire_mpo", "targeted"):
        assert any(path.startswith(f"{name}/blobs/") for path in first)

    code, text = run("run", "mmedpo", *SMALL, "--out", alone)
    assert code == 0, text
    assert curated(alone) == {name: data for name, data in first.items() if name.startswith("mmedpo/")}


def test_another_seed_gives_other_pairs(run, tmp_path: Path) -> None:
    words = [word if word != "5" else "6" for word in SMALL]
    texts = []
    for number, given in enumerate((SMALL, words)):
        out = tmp_path / str(number)
        assert run("run", "mmedpo", *given, "--set", "sft=null", "--out", out)[0] == 0
        texts.append((out / "pairs/mmedpo/pairs.jsonl").read_bytes())
    assert texts[0] != texts[1]
