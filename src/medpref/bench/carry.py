"""A whole bench: a grid's cells, then leaderboard.json, .csv, .md and .html, and the index of the cells' reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medpref import store
from medpref.bench.board import board_of, inputs_of
from medpref.bench.cells import Watch, run_cells
from medpref.bench.layout import CELLS, NOBODY, Asked, distinct
from medpref.bench.page import CSV, MARKDOWN, write_csv, write_markdown, write_page
from medpref.bench.values import Board, CellDone
from medpref.grid import Grid
from medpref.report.index import find_runs, write_index
from medpref.report.page import PAGE

JSON = "leaderboard.json"


def bench(grid: Grid, out: Path, watch: Watch, *, command: str = "", asked: Asked = NOBODY) -> Board:
    """Carry out what is missing of the grid under ``out``, write the leaderboard's files, return the leaderboard.

    ``command`` is what the Markdown page says makes it again, ``asked`` are the models that methods may ask.
    """
    out = out.resolve()
    with watch:
        cells = list(run_cells(distinct(grid), out, watch, asked=asked))
    board = _held(grid, out, cells) or board_of(grid, out, cells)
    store.write_json(out / JSON, board)
    write_csv(board, out / CSV)
    write_markdown(board, out / MARKDOWN, command=command or f"medpref bench {grid.name}")
    write_page(board, out, index=_index(out))
    return board


def _held(grid: Grid, out: Path, cells: Sequence[CellDone]) -> Board | None:
    """The leaderboard that is there already, where nothing that goes into it has changed; times are the latest."""
    path = out / JSON
    held = store.read_json(path) if path.exists() else None
    if not isinstance(held, dict) or held.get("inputs") != inputs_of(grid, out, cells):
        return None
    return store.parse_row(Board, held, where=str(path)).model_copy(update={"cells": tuple(cells)})


def _index(out: Path) -> str:
    """The index of the cells' reports, relative to the page; empty where no cell got anywhere."""
    folder = out / CELLS
    if not (folder.is_dir() and find_runs(folder)):
        return ""
    write_index(folder, folder)
    return f"{CELLS}/{PAGE}"
