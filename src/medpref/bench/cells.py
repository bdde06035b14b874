"""A grid carried out cell by cell: what is done is skipped, what fails is written down, the rest goes on."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from medpref import store
from medpref.arms import aligns
from medpref.bench.layout import NOBODY, Asked, borrow_examples, config_of, folder_of
from medpref.bench.read import summary_of
from medpref.bench.values import CellDone
from medpref.errors import MedprefError, RecipeError
from medpref.grid import Cell, Grid
from medpref.recipe import Recipe
from medpref.run import SURVIVED, carry_out, one_line, prepare

TRACE = "error.txt"


class Watch(Protocol):
    """Who is told what happens: the live table, or a test."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    def begin(self, cell: Cell, folder: Path) -> None: ...

    def say(self, line: str) -> None: ...

    def end(self, done: CellDone) -> None: ...


def check_grid(grid: Grid, asked: Asked = NOBODY) -> list[str]:
    """Warnings of every method on every policy and source; RecipeError where a method cannot work. Runs nothing.

    A policy or a source that is not there yet is left to its cells.
    """
    warnings: list[str] = []
    for cell in grid.cells():
        if cell.seed == grid.seeds[0]:
            try:
                run = prepare(config_of(cell, asked), Path(), warnings.append)
                _each_aligns(grid, run.recipes)
            except RecipeError:
                raise
            except MedprefError as error:
                warnings.append(f"{cell.policy} on {cell.source}: {error}")
    return list(dict.fromkeys(text.removeprefix("warning: ") for text in warnings))


def _each_aligns(grid: Grid, recipes: Sequence[Recipe]) -> None:
    for recipe in recipes:
        if not aligns(recipe):
            todo = "leave it out: base, SFT and matched controls are in every table"
            given = f"method {recipe.name} makes no pairs"
            raise RecipeError(f"grid {grid.name}", given=given, expected="a preference method", todo=todo)


def run_cells(grid: Grid, out: Path, watch: Watch, *, asked: Asked = NOBODY) -> Iterator[CellDone]:
    """Carry out every cell of the grid and yield what became of it; ``asked`` are the models that methods may ask."""
    for cell in grid.cells():
        folder = folder_of(out, cell)
        watch.begin(cell, folder)
        done = _run_cell(grid, out, cell, watch=watch, asked=asked)
        watch.end(done)
        yield done


def _run_cell(grid: Grid, out: Path, cell: Cell, *, watch: Watch, asked: Asked) -> CellDone:
    folder = folder_of(out, cell)
    began, failures, error = time.perf_counter(), dict[str, str](), ""
    trace = folder / TRACE
    trace.unlink(missing_ok=True)
    try:
        if borrow_examples(grid, out, cell):
            watch.say("examples: another policy's, the same source and seed")
        carry_out(config_of(cell, asked), folder, say=watch.say, failures=failures)
    except SURVIVED as caught:
        error = one_line(caught)
        store.write_text(trace, traceback.format_exc())
        watch.say(f"failed: {error}")
    summary = None if error else summary_of(folder)
    stages = dict(summary["seconds"]) if summary else {}
    return CellDone(
        policy=cell.policy,
        source=cell.source,
        seed=cell.seed,
        folder=folder.relative_to(out).as_posix(),
        seconds=round(sum(stages.values()) or time.perf_counter() - began, 1),
        error=error,
        failures=failures,
    )
