"""A leaderboard as its pages show it: per table and metric the lines in order, with numbers as text.

Methods stand by the places they may hold; those that share a place stand in the grid's order, not by their means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from medpref.bench.rank import place
from medpref.bench.values import OPPONENTS, Board, Level, Row, Table, Versus
from medpref.report.contrast import SYMBOLS
from medpref.report.words import Words, metric_words, model_label, number, p_value

ROLE_ORDER = {"method": 0, "control": 1, "sft": 2, "base": 3}


class Against(NamedTuple):
    """A paired difference as text; ``held`` has its numbers."""

    shown: str
    interval: str
    outcome: str
    symbol: str
    p_holm: str
    seeds: int
    held: Versus


class Line(NamedTuple):
    """One model on one metric; ``against`` follows ``OPPONENTS``, None where there is no such difference."""

    row: Row
    label: str
    place: str
    value: str
    deviation: str
    interval: str
    seeds: int
    behind: str
    held: Level
    against: tuple[Against | None, ...]


class Section(NamedTuple):
    """One metric of a table."""

    metric: str
    words: Words
    lines: tuple[Line, ...]

    @property
    def label(self) -> str:
        return self.words.label + (", %" if self.words.percent else "")

    @property
    def methods(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.row.role == "method")

    def line_of(self, name: str) -> Line | None:
        """The line of the row of that name."""
        return next((line for line in self.lines if line.row.name == name), None)

    @property
    def all_tied(self) -> bool:
        """Whether no method may be placed before another."""
        return len({line.place for line in self.methods}) == 1 < len(self.methods)


def sections(table: Table) -> list[Section]:
    """Every metric of a table that any row has."""
    found = []
    for metric in table.metrics:
        words = metric_words(metric)
        rows = [row for row in table.rows if metric in row.levels]
        order = {row.name: index for index, row in enumerate(rows)}
        rows.sort(key=lambda row: (ROLE_ORDER[row.role], row.levels[metric].rank or (0, 0), order[row.name]))
        if rows:
            found.append(Section(metric, words, tuple(_line(row, metric, words) for row in rows)))
    return found


def _line(row: Row, metric: str, words: Words) -> Line:
    held = row.levels[metric]
    low, high = (number(end, percent=words.percent) for end in (held.low, held.high))
    return Line(
        row=row,
        label=row.name if row.role == "method" else model_label(row.name),
        place=place(held.rank),
        value=number(held.value, percent=words.percent),
        deviation="" if held.deviation is None else number(held.deviation, percent=words.percent),
        interval=f"{low} to {high}",
        seeds=held.seeds,
        behind=f"{held.items:,} / {held.clusters:,}",
        held=held,
        against=tuple(_against(row, opponent, metric, words) for opponent in OPPONENTS),
    )


def _against(row: Row, opponent: str, metric: str, words: Words) -> Against | None:
    held = row.against.get(opponent, {}).get(metric)
    if held is None:
        return None
    low, high = (number(end, percent=words.percent, signed=True) for end in (held.low, held.high))
    return Against(
        shown=number(held.difference, percent=words.percent, signed=True),
        interval=f"{low} to {high}",
        outcome=held.outcome,
        symbol=SYMBOLS[held.outcome],
        p_holm=p_value(held.p_holm),
        seeds=held.seeds,
        held=held,
    )


def findings(table: Table) -> list[tuple[str, str, list[str]]]:
    """``(metric's label, outcome, methods)`` of every difference to the matched control that may be claimed."""
    found: dict[tuple[str, str], list[str]] = {}
    for section in sections(table):
        for line in section.methods:
            against = line.against[OPPONENTS.index("control")]
            if against is not None and against.outcome not in {"tied", "not judged"}:
                unit = " points" if section.words.percent else ""
                text = f"{line.label} ({against.shown}{unit}, {against.interval})"
                found.setdefault((section.words.label, against.outcome), []).append(text)
    return [(label, outcome, methods) for (label, outcome), methods in found.items()]


def short_titles(tables: Sequence[Table]) -> list[str]:
    """What tells each table from the others: its policy, or its source, or both."""
    policies, sources = ({getattr(table, key) for table in tables} for key in ("policy", "source"))
    if len(policies) == len(tables):
        return [table.policy for table in tables]
    return [table.source if len(sources) == len(tables) else table.title for table in tables]


def is_synthetic(board: Board) -> bool:
    """Whether any table's images are drawn."""
    return any(table.synthetic for table in board.tables)
