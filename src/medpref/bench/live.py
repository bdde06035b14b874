"""What a bench shows: a live table on a terminal while it runs, the stages' lines elsewhere; the table at the end."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from medpref.bench.read import summary_of
from medpref.bench.values import Board, CellDone
from medpref.bench.view import sections
from medpref.grid import Cell
from medpref.report.words import headline, metric_words, number

LOG = "log.txt"
MOST_COLUMNS = 4
SPACE = 110


class LiveTable:
    """Told of every cell and stage; on a terminal it redraws one table and keeps the stages' lines in ``log.txt``.

    The running means are of finished cells, without intervals: they are there to be watched, not to be quoted.
    """

    def __init__(self, name: str, cells: int) -> None:
        self.name, self.cells, self.done = name, cells, list[CellDone]()
        self.console = Console(file=sys.stderr)
        self.began, self.now, self.line = time.monotonic(), "", ""
        self.values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
        self._here, self._log = contextlib.ExitStack(), contextlib.ExitStack()
        self._file: TextIO | None = None
        self._folder = Path()

    def __enter__(self) -> LiveTable:
        if self.console.is_terminal:
            live = Live(get_renderable=self.render, console=self.console, refresh_per_second=2, redirect_stderr=False)
            self._here.enter_context(live)
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self._here.close()

    def begin(self, cell: Cell, folder: Path) -> None:
        self.now = f"{cell.policy} on {cell.source}, seed {cell.seed}"
        self._folder = folder
        if self.console.is_terminal:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._log.enter_context((folder / LOG).open("a", encoding="utf-8"))
            self._log.enter_context(contextlib.redirect_stderr(self._file))
            self._log.enter_context(contextlib.redirect_stdout(self._file))
        else:
            self._write(f"[{len(self.done) + 1}/{self.cells}] {self.now}")

    def say(self, line: str) -> None:
        self.line = line
        self._write(f"  {line}")

    def _write(self, line: str) -> None:
        file = self._file or sys.stderr
        file.write(f"{line}\n")
        file.flush()

    def end(self, done: CellDone) -> None:
        self._log.close()
        self._file = None
        self.done.append(done)
        summary = None if done.error else summary_of(self._folder)
        for model, metrics in (summary["models"] if summary else {}).items():
            row = self.values.setdefault((done.policy, done.source, model), {})
            for metric, held in metrics.items():
                if held["value"] is not None:
                    row.setdefault(metric, []).append(held["value"])

    def render(self) -> Group:
        """How far the grid is, what runs now, and the running means."""
        passed = time.monotonic() - self.began
        failed = sum(bool(cell.error or cell.failures) for cell in self.done)
        left = passed / len(self.done) * (self.cells - len(self.done)) if self.done else None
        text = (
            f"{self.name}: {len(self.done)} of {self.cells} cells done, {failed} with failures, {clock(passed)} passed"
        )
        lines = [Text(text + (f", about {clock(left)} left" if left is not None else ""), style="bold")]
        if len(self.done) < self.cells:
            lines.append(Text(f"now {self.now}: {self.line}"[:SPACE]))
        return Group(*lines, *([self._means()] if self.values else []))

    def _means(self) -> Grid:
        names = dict.fromkeys(metric for row in self.values.values() for metric in row)
        chosen = headline(list(names), limit=MOST_COLUMNS)
        table = Grid(title="means over finished cells, without intervals; not a ranking", title_justify="left")
        for title in ("policy", "source", "model", "cells"):
            table.add_column(title, max_width=30, no_wrap=True)
        for metric in chosen:
            table.add_column(metric_words(metric).label, justify="right")
        for (policy, source, model), row in self.values.items():
            cells = max(len(held) for held in row.values())
            table.add_row(policy, source, model, str(cells), *(_mean(row.get(metric), metric) for metric in chosen))
        return table


def _mean(values: list[float] | None, metric: str) -> str:
    return number(sum(values) / len(values), percent=metric_words(metric).percent) if values else "-"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(65), clock(3700)
    ('1:05', '1:01:40')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def print_board(board: Board) -> None:
    """The leaderboard on standard output: places, and each method against its matched control."""
    console = Console(width=None if Console().is_terminal else 160)
    for held in board.tables:
        shown = sections(held)[:MOST_COLUMNS]
        table = Grid(title=f"{board.name}: {held.title}, {len(held.seeds)} seeds", title_justify="left")
        table.add_column("method", overflow="fold", min_width=16)
        for section in shown:
            for title in (f"place, {section.label}", "minus control (95 %)"):
                table.add_column(title, justify="right")
        for name in (row.name for row in held.methods):
            cells = []
            for section in shown:
                line = next((one for one in section.methods if one.row.name == name), None)
                against = line.against[0] if line else None
                cells.append(f"{line.place}   {line.value}" if line else "-")
                cells.append(f"{against.shown} ({against.interval}) {against.symbol}" if against else "-")
            table.add_row(name, *cells)
        console.print(table)
    for what, error in board.failed:
        console.print(f"failed: {what}: {error}", soft_wrap=True, markup=False)
