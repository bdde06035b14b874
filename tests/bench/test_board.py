"""Leaderboards of made-up cells: what is tied, what is not, what failed, and what must not matter."""

from __future__ import annotations

import csv
import html.parser
from pathlib import Path

import pytest

from medpref import store
from medpref.bench.board import board_of
from medpref.bench.carry import bench
from medpref.bench.layout import Asked
from medpref.bench.page import write_csv, write_markdown, write_page
from medpref.bench.values import Board, CellDone, Row
from medpref.grid import Cell, Grid
from medpref.run import RunConfig
from tests.bench.cells_on_disk import build_cell, done_of, grid_of

SKILLS = {"good": 0.95, "same": 0.5, "twin": 0.5, "bad": 0.1}
METRIC = "overall_accuracy"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Grid, list[CellDone], Board]:
    out = tmp_path_factory.mktemp("made")
    grid = grid_of(tuple(SKILLS))
    cells = [build_cell(out, cell, SKILLS) for cell in grid.cells()]
    return out, grid, cells, board_of(grid, out, cells)


def row(board: Board, name: str) -> Row:
    return next(row for row in board.tables[0].rows if row.name == name)


def test_by_hand(made: tuple[Path, Grid, list[CellDone], Board]) -> None:
    board = made[-1]
    table = board.tables[0]
    assert [one.name for one in table.rows] == ["base", "sft", "dpo_sft_control", *SKILLS]
    good, same, bad = (row(board, name) for name in ("good", "same", "bad"))
    assert good.against["control"][METRIC].outcome == "better"
    assert bad.against["control"][METRIC].outcome == "worse"
    assert same.against["control"][METRIC].outcome == "tied"
    assert (good.levels[METRIC].rank, bad.levels[METRIC].rank) == ((1, 1), (4, 4))
    assert same.levels[METRIC].rank == row(board, "twin").levels[METRIC].rank == (2, 3)
    assert good.levels[METRIC].value == pytest.approx(0.95, abs=0.05)
    assert good.levels[METRIC].seeds == 3
    assert row(board, "base").levels[METRIC].rank is None
    assert {"control", "sft", "base"} == set(good.against)
    assert table.synthetic


def test_identical_to_the_control_is_tied_with_difference_zero(
    made: tuple[Path, Grid, list[CellDone], Board],
) -> None:
    versus = row(made[-1], "same").against["control"][METRIC]
    assert (versus.difference, versus.low, versus.high, versus.p, versus.outcome) == (0, 0, 0, 1, "tied")


def test_holm_is_over_the_methods_of_one_metric(made: tuple[Path, Grid, list[CellDone], Board]) -> None:
    held = [row(made[-1], name).against["control"][METRIC] for name in SKILLS]
    smallest = min(held, key=lambda one: one.p)
    assert smallest.p_holm == pytest.approx(min(1.0, len(SKILLS) * smallest.p))
    assert all(one.p_holm >= one.p for one in held)


def test_order_of_methods_changes_nothing_but_the_order(made: tuple[Path, Grid, list[CellDone], Board]) -> None:
    out, grid, cells, board = made
    turned = grid.model_copy(update={"methods": tuple(reversed(grid.methods))})
    other = board_of(turned, out, cells)
    for name in (*SKILLS, "base", "sft"):
        assert row(board, name) == row(other, name)
    assert board.tables[0].pairings == other.tables[0].pairings


def test_failed_cells_leave_fewer_seeds_and_their_errors(tmp_path: Path) -> None:
    grid = grid_of(tuple(SKILLS))
    first, second, third = grid.cells()
    cells = [
        build_cell(tmp_path, first, SKILLS),
        build_cell(tmp_path, second, {"good": 0.9, "same": 0.5, "twin": 0.5}, failures={"bad": "pairs/bad: no pair"}),
        done_of(tmp_path, third, error="policy: gone"),
    ]
    board = board_of(grid, tmp_path, cells)
    assert row(board, "good").levels[METRIC].seeds == 2
    assert row(board, "bad").levels[METRIC].seeds == 1
    assert row(board, "bad").levels[METRIC].deviation is None
    assert [error for _, error in board.failed] == ["pairs/bad: no pair", "policy: gone"]
    write_page(board, tmp_path)
    assert "policy: gone" in (tmp_path / "leaderboard.html").read_text()


def test_nothing_finished_is_a_leaderboard_of_failures(tmp_path: Path) -> None:
    grid = grid_of(("a",), seeds=(0,))
    board = board_of(grid, tmp_path, [done_of(tmp_path, grid.cells()[0], error="x")])
    assert board.tables == ()
    write_page(board, tmp_path)
    write_markdown(board, tmp_path / "a.md", command="medpref bench a")


def test_the_same_patients_at_all_seeds_are_counted_once(tmp_path: Path) -> None:
    grid = grid_of(("good",))
    cells = [build_cell(tmp_path, cell, {"good": 0.9}, same_patients=True) for cell in grid.cells()]
    board = board_of(grid, tmp_path, cells)
    assert row(board, "good").levels[METRIC].clusters == 20


def test_patients_drawn_at_each_seed_are_different_patients(made: tuple[Path, Grid, list[CellDone], Board]) -> None:
    assert row(made[-1], "good").levels[METRIC].clusters == 60


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.links += [value or "" for key, value in attrs if key in {"href", "src"}]


def test_the_page_stands_alone_and_links_only_to_its_runs(made: tuple[Path, Grid, list[CellDone], Board]) -> None:
    out, _, _, board = made
    write_page(board, out, index="cells/index.html")
    text = (out / "leaderboard.html").read_text()
    tags = Tags()
    tags.feed(text)
    assert "cells/index.html" in tags.links
    assert not [link for link in tags.links if link.startswith(("http", "//")) or "src" in link]
    assert "script" not in tags.names
    assert tags.names.count("svg") > 2
    assert "say nothing about clinical performance" in text
    assert ">2-3<" in text


def test_markdown_and_csv_hold_what_the_leaderboard_holds(
    made: tuple[Path, Grid, list[CellDone], Board], tmp_path: Path
) -> None:
    board = made[-1]
    write_markdown(board, tmp_path / "made.md", command="medpref bench made")
    write_csv(board, tmp_path / "made.csv")
    text = (tmp_path / "made.md").read_text()
    assert text.startswith("# made\n")
    assert "medpref bench made" in text
    assert "| 1 | good |" in text
    assert "Control (dpo)" in text
    with open(tmp_path / "made.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    good = next(line for line in lines if line["name"] == "good" and line["metric"] == METRIC)
    assert float(good["value"]) == row(board, "good").levels[METRIC].value
    assert float(good["minus_control_p_holm"]) == row(board, "good").against["control"][METRIC].p_holm
    assert (good["place_best"], good["minus_control_outcome"]) == ("1", "better")
    assert len(lines) == sum(len(one.levels) for one in board.tables[0].rows)


class Silent:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def begin(self, cell: Cell, folder: Path) -> None: ...

    def say(self, line: str) -> None: ...

    def end(self, done: CellDone) -> None: ...


def test_killed_between_cells_only_the_missing_ones_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells are stages, which skip themselves; here each stands for its whole run, and a kill for Ctrl-C."""
    grid = grid_of(("good", "same"))
    worked: list[int] = []
    stop_at = 2

    def carry_out(config: object, folder: Path, **_: object) -> None:
        cell = next(one for one in grid.cells() if one.seed == config.seed)  # type: ignore[attr-defined]
        if (folder / "summary.json").exists():
            return
        if len(worked) == stop_at:
            raise KeyboardInterrupt
        worked.append(cell.seed)
        build_cell(tmp_path, cell, {"good": 0.9, "same": 0.5})

    monkeypatch.setattr("medpref.bench.cells.carry_out", carry_out)
    with pytest.raises(KeyboardInterrupt):
        bench(grid, tmp_path, Silent())
    assert worked == [0, 1]
    stop_at = 9
    board = bench(grid, tmp_path, Silent())
    assert worked == [0, 1, 2]
    assert not board.failed

    def never(*_: object) -> None:
        raise AssertionError("a leaderboard whose inputs are the same is not computed again")

    monkeypatch.setattr("medpref.bench.carry.board_of", never)
    again = bench(grid, tmp_path, Silent())
    assert again.tables == board.tables
    assert worked == [0, 1, 2]
    assert Board.model_validate(store.read_json(tmp_path / "leaderboard.json")) == again


def test_every_cell_is_told_whom_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, told = grid_of(("good",), seeds=(0, 1)), []

    def carry_out(config: RunConfig, folder: Path, **_: object) -> None:
        told.append((config.judge, config.overrides))
        build_cell(tmp_path, grid.cells()[config.seed], {"good": 0.9})

    monkeypatch.setattr("medpref.bench.cells.carry_out", carry_out)
    bench(grid, tmp_path, Silent(), asked=Asked(judge=("rules",), settings=("judge.batch=2",)))
    assert told == [(("rules",), ("judge.batch=2",))] * 2


def test_a_cell_that_fails_is_written_down_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = grid_of(("good",), seeds=(0, 1))

    def carry_out(config: object, folder: Path, **_: object) -> None:
        cell = next(one for one in grid.cells() if one.seed == config.seed)  # type: ignore[attr-defined]
        if cell.seed == 0:
            raise RuntimeError("out of\nmemory")
        build_cell(tmp_path, cell, {"good": 0.9})

    monkeypatch.setattr("medpref.bench.cells.carry_out", carry_out)
    board = bench(grid, tmp_path, Silent())
    assert [error for _, error in board.failed] == ["RuntimeError: out of memory"]
    assert board.tables[0].seeds == (1,)
    assert "out of" in (tmp_path / board.cells[0].folder / "error.txt").read_text()
