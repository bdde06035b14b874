"""What is shown while a bench runs: progress, the stage, running means; on a terminal the stages' lines go to a log."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from medpref.bench.board import board_of
from medpref.bench.live import LiveTable, print_board
from tests.bench.cells_on_disk import build_cell, done_of, grid_of


def text_of(live: LiveTable) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(live.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_progress_means_and_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = grid_of(("good",), seeds=(0, 1))
    first, second = grid.cells()
    with LiveTable("made", 2) as live:
        live.begin(first, tmp_path)
        live.say("train/good")
        assert "0 of 2 cells done" in text_of(live)
        assert "seed 0: train/good" in text_of(live)
        done = build_cell(tmp_path, first, {"good": 1.0})
        live.begin(first, tmp_path / done.folder)
        live.end(done)
        assert "1 of 2 cells done, 0 with failures" in text_of(live)
        assert "100.0" in text_of(live)
        live.begin(second, tmp_path)
        live.end(done_of(tmp_path, second, error="gone"))
        assert "2 of 2 cells done, 1 with failures" in text_of(live)
    assert "[2/2] tiny:x on phantom, seed 1" in capsys.readouterr().err


def test_on_a_terminal_the_stages_speak_into_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    live = LiveTable("made", 1)
    live.console = Console(file=screen, force_terminal=True, width=100)
    cell = grid_of(("good",), seeds=(0,)).cells()[0]
    before = sys.stderr
    with live:
        live.begin(cell, tmp_path)
        live.say("train/good")
        sys.stderr.write("a bar\n")
        live.end(done_of(tmp_path, cell, error="gone"))
        assert sys.stderr is before
    assert (tmp_path / "log.txt").read_text() == "  train/good\na bar\n"
    assert "1 of 1 cells done" in screen.getvalue()


def test_the_table_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = grid_of(("good", "bad"))
    cells = [build_cell(tmp_path, cell, {"good": 0.95, "bad": 0.1}) for cell in grid.cells()]
    print_board(board_of(grid, tmp_path, [*cells, done_of(tmp_path, grid.cells()[0], error="policy: [gone]")]))
    shown = capsys.readouterr().out
    assert "made: tiny:x on phantom, 3 seeds" in shown
    assert "▲" in shown
    assert "▼" in shown
    assert "policy: [gone]" in shown
