"""Figures as inline SVG text: forest plots, curves and histograms. Colours are CSS classes, for dark mode and print.

Knows: numbers and labels. Does not know: runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from medpref.report.axes import Place, axis_x, axis_y, frame, linear, ticks, ticks_inside

FOREST_PLOT, FOREST_ROW, FOREST_GAP = 196, 24, 12
LETTER_PX, MOST_LETTERS = 7.3, 40
CHART_WIDTH, CHART_HEIGHT, CHART_LEFT = 320, 176, 48
STRIP_WIDTH, STRIP_HEIGHT = 170, 22
THICK_FROM = 40
BESIDE_PX = 2.5


class Interval(NamedTuple):
    """One line of a forest plot; ``series`` chooses the colour."""

    label: str
    value: float
    low: float
    high: float
    series: int = 0


class Series(NamedTuple):
    """One line of a chart, or the edges and counts of a histogram; a y of None is a gap.

    ``ends`` are the intervals of a line's points, drawn as bars; none for a line without.
    """

    label: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    series: int = 0
    ends: Sequence[tuple[float, float] | None] = ()


def forest(title: str, rows: Sequence[Interval]) -> Markup:
    """Points with intervals on one axis, one row a model; as wide as its longest label needs; zero is a line."""
    labels = [row.label if len(row.label) <= MOST_LETTERS else row.label[: MOST_LETTERS - 1] + "…" for row in rows]
    left, top = round(max(map(len, labels), default=0) * LETTER_PX) + 2 * FOREST_GAP, 6
    right = left + FOREST_PLOT
    ends = [end for row in rows for end in (row.low, row.high, row.value)]
    marks = ticks(min(ends), max(ends))
    bottom = top + FOREST_ROW * len(rows)
    place = linear((marks[0], marks[-1]), (left, right))
    parts = [axis_x(marks, place, top=top, bottom=bottom)]
    if marks[0] < 0 < marks[-1]:
        zero = place(0)
        parts.append(f'<line class="zero" x1="{zero:.1f}" x2="{zero:.1f}" y1="{top}" y2="{bottom}"/>')
    for index, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + FOREST_ROW * (index + 0.5)
        at = f'x="{left - FOREST_GAP}" y="{y + 4:.1f}"'
        parts.append(f'<text class="lab" {at} text-anchor="end">{escape(label)}</text>')
        parts.append(_whisker(row, place, y=y))
    spoken = "; ".join(f"{row.label} {row.value:.3g} ({row.low:.3g} to {row.high:.3g})" for row in rows)
    return frame(right + 14, bottom + 22, name=f"{title}: {spoken}", parts=parts)


def strip(row: Interval, span: tuple[float, float]) -> Markup:
    """One difference with its interval on an axis shared by a table's rows; the line marks zero. Decorative."""
    place = linear(span, (4, STRIP_WIDTH - 4))
    x = place(0)
    zero = f'<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="1" y2="{STRIP_HEIGHT - 1}"/>'
    body = zero + _whisker(row, place, y=STRIP_HEIGHT / 2)
    size = f'width="{STRIP_WIDTH}" height="{STRIP_HEIGHT}" viewBox="0 0 {STRIP_WIDTH} {STRIP_HEIGHT}"'
    return Markup(f'<svg class="strip" {size} aria-hidden="true">{body}</svg>')


def chart(
    title: str, series: Sequence[Series], *, x_label: str = "step", span: tuple[float, float] | None = None
) -> Markup:
    """Curves over steps; from 40 values on, a moving mean over a tenth of them is drawn over the thin values.

    ``span`` is the range of the y axis, for charts that are compared; without it the chart's own.
    """
    xs = [x for held in series for x in held.xs]
    low, high = span or heights(series)
    place_x, place_y, parts = _plane((min(xs), max(xs)), ticks(low, high), x_label=x_label)
    for held in series:
        many = sum(y is not None for y in held.ys) >= THICK_FROM
        parts.append(_curve(held, held.ys, places=(place_x, place_y), css="thin" if many else ""))
        if many:
            parts.append(_curve(held, moving_mean(held.ys, len(held.ys) // 10), places=(place_x, place_y), css=""))
    for index, held in enumerate(series):
        aside = BESIDE_PX * (index - (len(series) - 1) / 2)
        parts += _bars(held, places=(place_x, place_y), aside=aside)
    spoken = "; ".join(f"{held.label or title} {_first_last(held.ys)}" for held in series)
    return frame(CHART_WIDTH, CHART_HEIGHT, name=f"{title} by {x_label}: {spoken}", parts=parts)


def heights(series: Sequence[Series]) -> tuple[float, float]:
    """The lowest and the highest value of lines, ends of intervals included; (0, 1) where there is none."""
    ys = [y for held in series for y in held.ys if y is not None]
    ys += [end for held in series for ends in held.ends if ends is not None for end in ends]
    return min(ys, default=0.0), max(ys, default=1.0)


def histogram(title: str, series: Sequence[Series], *, x_label: str) -> Markup:
    """Counts a bin, one outline a series: ``xs`` are the edges (one more than the counts ``ys``)."""
    edges = [x for held in series for x in held.xs]
    most = max((y or 0 for held in series for y in held.ys), default=0)
    place_x, place_y, parts = _plane((min(edges), max(edges)), ticks(0, most or 1, count=3), x_label=x_label)
    bottom = place_y(0)
    for held in series:
        path = [f"M{place_x(held.xs[0]):.1f} {bottom:.1f}"]
        for start, end, count in zip(held.xs, held.xs[1:], held.ys, strict=False):
            y = place_y(count or 0)
            path.append(f"L{place_x(start):.1f} {y:.1f}L{place_x(end):.1f} {y:.1f}")
        path.append(f"L{place_x(held.xs[-1]):.1f} {bottom:.1f}Z")
        parts.append(f'<path class="area s{held.series}" d="{"".join(path)}"/>')
    total = "; ".join(f"{held.label or title} {sum(y or 0 for y in held.ys):g} in all" for held in series)
    return frame(CHART_WIDTH, CHART_HEIGHT, name=f"Histogram of {title}: {total}", parts=parts)


def moving_mean(ys: Sequence[float | None], window: int) -> list[float | None]:
    """The centred mean over ``2 * (window // 2) + 1`` values, fewer at the ends; gaps are left out and stay gaps.

    >>> moving_mean([0, 3, None, 6], 3)
    [1.5, 1.5, None, 6.0]
    """
    half = window // 2
    smooth: list[float | None] = []
    for index, y in enumerate(ys):
        near = [held for held in ys[max(0, index - half) : index + half + 1] if held is not None]
        smooth.append(None if y is None else sum(near) / len(near))
    return smooth


def thin_out(xs: Sequence[float], ys: Sequence[float | None], *, limit: int) -> tuple[list[float], list[float | None]]:
    """At most ``limit`` points: means over consecutive bins of equal size (a bin of gaps is a gap)."""
    size = -(-len(xs) // limit) or 1
    out_x: list[float] = []
    out_y: list[float | None] = []
    for start in range(0, len(xs), size):
        chunk = xs[start : start + size]
        held = [y for y in ys[start : start + size] if y is not None]
        out_x.append(sum(chunk) / len(chunk))
        out_y.append(sum(held) / len(held) if held else None)
    return out_x, out_y


def _plane(across: tuple[float, float], up: Sequence[float], *, x_label: str) -> tuple[Place, Place, list[str]]:
    """The two scales of a chart and its axes; x ends where the data end, y at a round number."""
    right, top, bottom = CHART_WIDTH - 12, 8, CHART_HEIGHT - 36
    low, high = across if across[0] < across[1] else (across[0], across[0] + 1)
    place_x, place_y = linear((low, high), (CHART_LEFT, right)), linear((up[0], up[-1]), (bottom, top))
    middle = (CHART_LEFT + right) / 2
    label = f'<text class="tick" x="{middle:.0f}" y="{CHART_HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
    axes = axis_y(up, place_y, left=CHART_LEFT, right=right)
    return place_x, place_y, [axes, axis_x(ticks_inside(low, high, count=5), place_x, top=bottom, bottom=bottom), label]


def _curve(held: Series, ys: Sequence[float | None], *, places: tuple[Place, Place], css: str) -> str:
    place_x, place_y = places
    pen, path = "M", []
    for x, y in zip(held.xs, ys, strict=True):
        if y is not None:
            path.append(f"{pen}{place_x(x):.1f} {place_y(y):.1f}")
        pen = "M" if y is None else "L"
    return f'<path class="curve s{held.series} {css}" d="{"".join(path)}"/>'


def _bars(held: Series, *, places: tuple[Place, Place], aside: float) -> list[str]:
    """The intervals of a line's points, moved ``aside`` so that those of several lines stand beside each other."""
    place_x, place_y = places
    found = []
    for x, ends in zip(held.xs, held.ends, strict=False):
        if ends is not None:
            at, low, high = place_x(x) + aside, place_y(ends[0]), place_y(ends[1])
            found.append(
                f'<line class="reach s{held.series}" x1="{at:.1f}" x2="{at:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            )
    return found


def _whisker(row: Interval, place: Place, *, y: float) -> str:
    bar = f'<line class="bar" x1="{place(row.low):.1f}" x2="{place(row.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'<g class="mark s{row.series}">{bar}<circle cx="{place(row.value):.1f}" cy="{y:.1f}" r="4"/></g>'


def _first_last(ys: Sequence[float | None]) -> str:
    held = [y for y in ys if y is not None]
    return f"from {held[0]:.3g} to {held[-1]:.3g}" if held else "no values"
