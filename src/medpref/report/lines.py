"""Lines of several models on charts that stay readable: few on each, each chart with its legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from medpref.report.curves import Panel
from medpref.report.figure import Series, chart, heights
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
    """Charts of all lines on one scale: the base and the SFT model on each, the others four at a time, in order."""
    groups = [_series(group) for group in _groups(lines)]
    span = heights([held for group in groups for held in group])
    many = len(groups) > 1
    return [
        _panel(f"{title} ({place} of {len(groups)})" if many else title, group, x_label=x_label, span=span)
        for place, group in enumerate(groups, start=1)
    ]


def _groups(lines: Sequence[Line]) -> Iterator[list[Line]]:
    fixed = [line for line in lines if line.model in FIXED]
    others = [line for line in lines if line.model not in FIXED]
    for start in range(0, max(1, len(others)), TOGETHER):
        group = [*fixed, *others[start : start + TOGETHER]]
        if group:
            yield group


def _panel(title: str, group: Sequence[Series], *, x_label: str, span: tuple[float, float]) -> Panel:
    legend = tuple((held.label, held.series) for held in group)
    return Panel(title, chart(title, group, x_label=x_label, span=span), legend)


def _series(group: Sequence[Line]) -> list[Series]:
    free = iter(OTHERS)
    return [Series(model_label(line.model), line.xs, line.ys, _colour(line.model, free), line.ends) for line in group]


def _colour(model: str, free: Iterator[int]) -> int:
    return FIXED[model] if model in FIXED else next(free)
