"""Axes of a figure as SVG text: round ticks, a linear scale, grid lines, and the frame with its accessible name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

Place = Callable[[float], float]
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def ticks(low: float, high: float, *, count: int = 4) -> list[float]:
    """About ``count`` round numbers (1, 2, 2.5 or 5 times a power of ten) that enclose ``[low, high]``.

    >>> ticks(0.0, 9.0)
    [0.0, 2.5, 5.0, 7.5, 10.0]
    """
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in STEPS if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def ticks_inside(low: float, high: float, *, count: int = 4) -> list[float]:
    """Round numbers within ``[low, high]``, for an axis that ends where the data end; whole ones from a width of 5 on.

    >>> ticks_inside(0.5, 11.5)
    [5.0, 10.0]
    """
    marks = [mark for mark in ticks(low, high, count=count) if low <= mark <= high]
    return [mark for mark in marks if high - low < 5 or mark == int(mark)]


def tick_text(value: float) -> str:
    """A tick's label, short.

    >>> tick_text(-0.25), tick_text(12000), tick_text(1e-5)
    ('−0.25', '12k', '1e−5')
    """
    size = abs(value)
    if size >= 10_000:
        text = f"{value / 1000:g}k"
    elif 0 < size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    else:
        text = f"{value:.4g}"
    return text.replace("-", "−")


def linear(values: tuple[float, float], units: tuple[float, float]) -> Place:
    """The linear map that takes a range of values to a range of SVG units, first to first and last to last."""
    (low, high), (start, end) = values, units
    scale = (end - start) / (high - low)
    return lambda value: start + (value - low) * scale


def axis_x(marks: Sequence[float], place: Place, *, top: float, bottom: float) -> str:
    """Vertical grid lines from ``top`` to ``bottom`` with their labels below."""
    parts = []
    for mark in marks:
        x = place(mark)
        if top < bottom:
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{tick_text(mark)}</text>'
        )
    return "".join(parts)


def axis_y(marks: Sequence[float], place: Place, *, left: float, right: float) -> str:
    """Horizontal grid lines from ``left`` to ``right`` with their labels before them."""
    parts = []
    for mark in marks:
        y = place(mark)
        parts.append(f'<line class="grid" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick_text(mark)}</text>'
        )
    return "".join(parts)


def frame(width: float, height: float, *, name: str, parts: Sequence[str]) -> Markup:
    """The figure: ``name`` is what a screen reader says."""
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return Markup(f'<svg class="fig" role="img" aria-label="{escape(name)}" {size}>{"".join(parts)}</svg>')
