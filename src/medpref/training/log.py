"""``steps.jsonl`` while training runs: one line an optimiser step, in the names dashboards of TRL users know."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from medpref import store

COMPLETE = "complete"


class StepLog(TrainerCallback):
    """Writes ``steps.jsonl``, marks checkpoints as complete, and drives the progress display."""

    def __init__(self, path: Path, *, resumed_step: int) -> None:
        self.path = path
        self.trainer: Any = None
        self.last = time.perf_counter()
        kept = [row for _, row in store.iter_lines(path) if row["step"] <= resumed_step] if path.exists() else []
        store.write_lines(path, kept)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        now = time.perf_counter()
        row = {"step": state.global_step, **logs, **self.trainer.take_means(), "seconds": round(now - self.last, 4)}
        self.last = now
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(store.to_json({key: _plain(value) for key, value in row.items()}) + "\n")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


def _plain(value: Any) -> Any:
    return round(float(value), 8) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def last_complete(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; a torn one (no marker) is not considered."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)
