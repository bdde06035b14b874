"""The leaderboard page of a grid of many methods in a browser, at a desk's and at a phone's width."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpref.bench.board import board_of
from medpref.bench.page import write_page
from medpref.bench.values import Board
from medpref.report.index import write_index
from tests.bench.cells_on_disk import build_cell, grid_of
from tests.report.browser import PHONE, ask, needs_axe, needs_chromium, open_page, violations

SKILLS = {
    "good": 0.98,
    **{f"fire_mpo_without_reverse_kl_{letter}": 0.5 for letter in "abcdefghij"},
    "chexpo_answer_only": 0.5,
    "bad": 0.02,
}
SOURCE = "phantom:studies=300,validation=0,test=48,studies_per_patient=1"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Board]:
    out = tmp_path_factory.mktemp("board")
    grid = grid_of(tuple(SKILLS), policies=("tiny:llava-mistral", "tiny:llava-qwen2"))
    grid = grid.model_copy(update={"sources": (SOURCE,)})
    found = board_of(grid, out, [build_cell(out, cell, SKILLS) for cell in grid.cells()])
    write_index(out / "cells", out / "cells")
    write_page(found, out, index="cells/index.html")
    return out, found


@needs_chromium
@pytest.mark.parametrize("width", [1280, PHONE])
@pytest.mark.parametrize("name", ["leaderboard.html", "cells/index.html"])
def test_nothing_is_cut_and_nothing_needs_sideways_scrolling(
    board: tuple[Path, Board], tmp_path: Path, name: str, width: int
) -> None:
    steps = """
      all('details').forEach((one) => { one.open = true; });
      return { wide: document.documentElement.scrollWidth, screen: innerWidth,
        cut: all('svg.fig text.lab').filter((label) => label.getBBox().x < 0).map((label) => label.textContent) };"""
    found = ask(board[0] / name, tmp_path, steps, width=width)
    assert found["screen"] == width
    assert found["wide"] <= width
    assert found["cut"] == []


@needs_chromium
def test_the_overview_says_of_every_method_better_worse_or_tied(board: tuple[Path, Board], tmp_path: Path) -> None:
    steps = """
      const rows = [...document.querySelectorAll('#table-0 .matrix tbody tr')];
      return { rows: rows.map((row) => [row.querySelector('th').textContent,
          [...row.querySelectorAll('td .outcome .vh')].map((said) => said.textContent.trim())]),
        notice: document.querySelector('.notice').textContent, nav: all('nav a').map((link) => link.textContent) };"""
    found = ask(board[0] / "leaderboard.html", tmp_path, steps)
    table = board[1].tables[0]
    said = {row.name: [row.against["control"][metric].outcome for metric in table.metrics] for row in table.methods}
    assert dict(found["rows"]) == {**said, "SFT": [], "Base": []}
    assert said["good"][0] == "better"
    assert said["bad"][0] == "worse"
    assert set(said["chexpo_answer_only"]) == {"tied"}
    assert "Synthetic phantom data" in found["notice"]
    assert found["nav"][:2] == ["tiny:llava-mistral", "tiny:llava-qwen2"]


@needs_chromium
def test_the_log_is_empty(board: tuple[Path, Board], tmp_path: Path) -> None:
    for name in ("leaderboard.html", "cells/index.html"):
        _, log = open_page(board[0] / name, tmp_path)
        assert "CONSOLE" not in log


@needs_chromium
@needs_axe
@pytest.mark.parametrize("name", ["leaderboard.html", "cells/index.html"])
def test_axe_finds_no_violation(board: tuple[Path, Board], tmp_path: Path, name: str) -> None:
    assert violations(board[0] / name, tmp_path) == []
