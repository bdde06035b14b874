"""A run that is killed (SIGKILL) in every stage ends with the same bytes as one that was left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from medpref import store

COMMAND = (
    *(sys.executable, "-c", "from medpref.cli import main; main()"),
    *("run", "mmedpo", "fire_mpo", "--policy", "tiny:llava-mistral", "--seed", "3"),
    *("--source", "phantom:studies=24,validation=0,test=8,size_px=96"),
    *("--set", "sft.steps=12", "--set", "sft.batch=16", "--set", "sft.save_every=4", "--set", "train.steps=8"),
    *("--set", "train.batch=8", "--set", "train.save_every=3", "--set", "evaluation.limit=40"),
)
STAGES = (
    "examples",
    "train/sft",
    "replies",
    "pairs/mmedpo",
    "pairs/fire_mpo",
    "train/fire_mpo",
    "eval/sft",
    "eval/fire_mpo",
    "report",
)
SAME = ("examples/examples.jsonl", "replies/replies.jsonl", "eval/comparisons/comparisons.json")


def start(out: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MEDPREF_PROGRESS": "0"}
    return subprocess.Popen([*COMMAND, "--out", str(out)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(out: Path) -> str:
    process = start(out)
    text, _ = process.communicate(timeout=400)
    assert process.returncode == 0, text.decode()[-3000:]
    return text.decode()


def kill_in(out: Path, stage: str) -> bool:
    """Start the run and kill it a moment after the stage's folder appears; whether it was killed there."""
    process = start(out)
    partial = out / f"{stage}.partial"
    while process.poll() is None and not partial.exists():
        time.sleep(0.005)
    time.sleep(0.25 if stage.startswith("train") else 0.02)
    killed = process.poll() is None and partial.exists()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return killed


def test_killed_in_every_stage_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(whole)
    killed = [stage for stage in STAGES if kill_in(cut, stage)]
    assert len(killed) >= len(STAGES) - 2, f"killed only in {killed}"
    finish(cut)
    files = [*SAME, *(str(path.relative_to(whole)) for path in whole.rglob("*.safetensors"))]
    for pattern in ("pairs/*/*.jsonl", "eval/*/estimates.json", "eval/*/verdicts.jsonl"):
        files += [str(path.relative_to(whole)) for path in whole.glob(pattern)]
    different = [name for name in files if (whole / name).read_bytes() != (cut / name).read_bytes()]
    assert not different
    assert len(files) > 20
    assert not list(cut.rglob("*.partial"))
    one, two = (store.read_json(folder / "summary.json") for folder in (whole, cut))
    assert one["models"] == two["models"]
    assert one["comparisons"] == two["comparisons"]
    began = time.perf_counter()
    text = finish(cut)
    assert time.perf_counter() - began < 15  # five seconds on a quiet machine; CI machines are not quiet
    assert text.count("done before") >= len(STAGES)
