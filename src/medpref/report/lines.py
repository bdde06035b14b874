"""Lines of several models on charts that stay readable: few on each, each chart with its legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from medpref.report.curves import Panel
from medpref.report.figure import Series, chart
from medpref.report.words import model_label

TOGETHER = 4
FIXED = {"base": 0, "sft": 3}
OTHERS = (1, 2, 4, 5)
End = tuple[float, float] | None


class Line(NamedTuple):
    """One model's values; ``ends`` are the intervals of its points, if they are to be drawn."""

    model: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    ends: Sequence[End] = ()


def charts(title: str, lines: Sequence[Line], *, x_label: str) -> list[Panel]:
    """Charts of all lines: the base and the SFT model on each, the others four at a time, in the run's order."""
    return [_panel(title, group, x_label=x_label) for group in _groups(lines)]


def _groups(lines: Sequence[Line]) -> Iterator[list[Line]]:
    fixed = [line for line in lines if line.model in FIXED]
    others = [line for line in lines if line.model not in FIXED]
    for start in range(0, max(1, len(others)), TOGETHER):
        group = [*fixed, *others[start : start + TOGETHER]]
        if group:
            yield group


def _panel(title: str, group: Sequence[Line], *, x_label: str) -> Panel:
    free = iter(OTHERS)
    series = [Series(model_label(line.model), line.xs, line.ys, _colour(line.model, free), line.ends) for line in group]
    return Panel(title, chart(title, series, x_label=x_label), tuple((held.label, held.series) for held in series))


def _colour(model: str, free: Iterator[int]) -> int:
    return FIXED[model] if model in FIXED else next(free)
