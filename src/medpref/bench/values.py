"""What ``leaderboard.json`` holds, as frozen values. Differences are always row minus opponent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from medpref.schema import Frozen

Role = Literal["base", "sft", "control", "method"]
Outcome = Literal["tied", "better", "worse", "higher", "lower", "not judged"]
OPPONENTS = ("control", "sft", "base")


class CellDone(Frozen):
    """One run of the grid: where it lies, how long it took in all, and what failed (``error``: the whole cell)."""

    policy: str
    source: str
    seed: int
    folder: str
    seconds: float = 0.0
    error: str = ""
    failures: Mapping[str, str] = {}

    @property
    def title(self) -> str:
        return f"{self.policy} on {self.source}, seed {self.seed}"


class Level(Frozen):
    """A metric of one row over its seeds: mean, standard deviation between seeds, 95 % interval, possible places.

    ``rank`` is (best, worst) among the methods of the table; None for a row or a metric that is not ranked.
    """

    value: float
    deviation: float | None
    low: float
    high: float
    seeds: int
    items: int
    clusters: int
    by_seed: Mapping[int, float]
    rank: tuple[int, int] | None = None


class Versus(Frozen):
    """A paired difference over seeds and questions, with its p-value, Holm's over the family, and what may be said."""

    difference: float
    deviation: float | None
    low: float
    high: float
    p: float
    p_holm: float
    outcome: Outcome
    seeds: int
    items: int
    clusters: int


class Row(Frozen):
    """One model of a table. ``levels`` is by metric, ``against`` by opponent (control, sft, base) and metric."""

    name: str
    role: Role
    recipe: str = ""
    control: str | None = None
    axes: Mapping[str, str] = {}
    levels: Mapping[str, Level] = {}
    against: Mapping[str, Mapping[str, Versus]] = {}


class Pairing(Frozen):
    """Two methods of a table on one metric."""

    a: str
    b: str
    metric: str
    versus: Versus


class Table(Frozen):
    """All rows of one policy on one source: base and SFT, controls, then the methods in the grid's order."""

    policy: str
    source: str
    synthetic: bool
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    pairings: tuple[Pairing, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.policy} on {self.source}"

    @property
    def overview(self) -> tuple[Row, ...]:
        """The rows as a reader wants them first: methods, then SFT and base."""
        order = {"method": 0, "sft": 1, "base": 2}
        return tuple(sorted((row for row in self.rows if row.role in order), key=lambda row: order[row.role]))

    @property
    def methods(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.role == "method")


class Board(Frozen):
    """A grid's leaderboard; ``inputs`` is a hash of all that it was computed from."""

    name: str
    summary: str = ""
    medpref: str
    inputs: str
    seeds: tuple[int, ...]
    tables: tuple[Table, ...]
    cells: tuple[CellDone, ...]

    @property
    def failed(self) -> tuple[tuple[str, str], ...]:
        """``(what, error)`` of every failure: of a whole cell, or of one method in it."""
        found = []
        for cell in self.cells:
            found += [(cell.title, cell.error)] if cell.error else []
            found += [(f"{name}: {cell.title}", error) for name, error in cell.failures.items()]
        return tuple(found)
