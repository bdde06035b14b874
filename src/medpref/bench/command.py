"""The command ``medpref bench``: which grid was asked for, what it would run, and what is shown at the end."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from medpref.bench.carry import bench
from medpref.bench.cells import check_grid
from medpref.bench.layout import Asked, folder_of, narrow
from medpref.bench.live import LiveTable, print_board
from medpref.bench.page import HTML, write_markdown
from medpref.grid import Grid, load_grid
from medpref.roles import PREFIX
from medpref.schema import Frozen

Say = Callable[[str], None]


class Narrowed(Frozen):
    """A grid as the command line names it; empty fields leave the grid's own."""

    grid: str
    policies: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    judge: tuple[str, ...] = ()
    service_is_mine: bool = False
    prompts: str = ""
    chat_cache: str = ""

    @property
    def command(self) -> str:
        """The command that asks for the same again, wherever it writes.

        >>> Narrowed(grid="phantom", seeds=(1,)).command
        'medpref bench phantom --seed 1'
        """
        options = {
            "policy": self.policies,
            "source": self.sources,
            "seed": self.seeds,
            "method": self.methods,
            "set": self.overrides,
            "judge": self.judge,
            "prompts": (self.prompts,) if self.prompts else (),
        }
        words = [word for name, values in options.items() for value in values for word in (f"--{name}", str(value))]
        mine = ["--service-is-mine"] if self.service_is_mine else []
        return shlex.join(["medpref", "bench", self.grid, *words, *mine])

    def load(self) -> Grid:
        """The grid that is asked for."""
        return narrow(
            load_grid(self.grid),
            policies=self.policies,
            sources=self.sources,
            seeds=self.seeds,
            methods=self.methods,
            overrides=tuple(text for text in self.overrides if not text.startswith(PREFIX)),
        )

    def asked(self, out: Path) -> Asked:
        """Whom the cells may ask; they share the answers, kept in ``out`` where the user names no other folder."""
        cache = self.chat_cache or (str(out / ".chat") if self.judge else "")
        return Asked(
            judge=self.judge,
            service_is_mine=self.service_is_mine,
            prompts=_whole(self.prompts),
            chat_cache=_whole(cache),
            settings=tuple(text for text in self.overrides if text.startswith(PREFIX)),
        )


def _whole(path: str) -> str:
    return str(Path(path).expanduser().resolve()) if path else ""


def bench_command(wanted: Narrowed, out: Path | None, *, markdown: Path | None, dry_run: bool, say: Say) -> int:
    """Check the grid, carry it out, show the leaderboard; the exit code: 1 where any cell or method failed."""
    grid = wanted.load()
    out = out or Path("runs") / grid.name
    asked = wanted.asked(out)
    for warning in check_grid(grid, asked):
        say(f"warning: {warning}")
    if dry_run:
        _show_plan(grid, out, say)
        return 0
    board = bench(grid, out, LiveTable(grid.name, len(grid.cells())), command=wanted.command, asked=asked)
    print_board(board)
    if markdown is not None:
        write_markdown(board, markdown, command=wanted.command)
        say(f"Markdown: {markdown}")
    say(f"Leaderboard: {out / HTML}")
    return 1 if board.failed else 0


def _show_plan(grid: Grid, out: Path, say: Say) -> None:
    for method in grid.methods:
        say(f"{method.name:<28} {method.recipe:<20} {' '.join(grid.overrides(method))}")
    for cell in grid.cells():
        state = "begun" if folder_of(out, cell).exists() else "new"
        say(f"{state:<6} {cell.policy} on {cell.source}, seed {cell.seed}: {folder_of(out, cell)}")
    say(f"{grid.name}: {len(grid.cells())} cells of {len(grid.methods)} methods")
