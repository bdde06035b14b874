"""The outline of a region as an SVG path in pixels of the stored image: the border of its mask, else its box."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medpref.schema import Mask, Region

Point = tuple[float, float]
TOLERANCE = 0.006


def outline(region: Region) -> str:
    """``M x y L x y ... Z`` for each closed curve of the region.

    A mask's border is simplified by at most 0.6 % of its image's longer side (one pixel at least), which takes the
    stairs out of it.
    """
    if region.mask is None:
        left, top, right, bottom = region.box
        return f"M{left} {top}H{right}V{bottom}H{left}Z"
    tolerance_px = max(1.0, TOLERANCE * max(region.mask.height, region.mask.width))
    loops = (simplify(loop, tolerance_px) for loop in borders(mask_array(region.mask)))
    return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in loop) + "Z" for loop in loops if len(loop) > 2)


def mask_array(mask: Mask) -> NDArray[np.bool_]:
    """The mask as booleans, H x W."""
    values = np.arange(len(mask.runs)) % 2 == 1
    return np.repeat(values, mask.runs).reshape(mask.height, mask.width)


def borders(mask: NDArray[np.bool_]) -> list[list[Point]]:
    """The closed curves along pixel edges around ``mask`` (H x W): outer ones clockwise as seen, holes the other way.

    Each curve lists its corners (x, y) once; the signed areas of all curves sum to ``mask.sum()`` square pixels.
    Pixels that touch at a corner only lie on different curves.
    """
    leaving = _edges(mask)
    loops = []
    while leaving:
        start = next(iter(leaving))
        heading, loop = -1, []
        here, first = start, True
        while first or here != start:
            first = False
            turns = leaving[here]
            step = min(turns, key=lambda turn: (heading + 1 - turn) % 4) if heading >= 0 else next(iter(turns))
            if step != heading:
                loop.append((float(here[0]), float(here[1])))
            after = turns.pop(step)
            if not turns:
                del leaving[here]
            here, heading = after, step
        loops.append(loop)
    return loops


def simplify(loop: Sequence[Point], tolerance_px: float) -> list[Point]:
    """A closed curve with fewer corners, none left out farther than the tolerance from it (Douglas-Peucker)."""
    if len(loop) < 4:
        return list(loop)
    far = max(range(len(loop)), key=lambda index: math.dist(loop[0], loop[index]))
    there, back = list(loop[: far + 1]), [*loop[far:], loop[0]]
    return _thin(there, tolerance_px)[:-1] + _thin(back, tolerance_px)[:-1]


def _thin(line: list[Point], tolerance_px: float) -> list[Point]:
    kept, todo = {0, len(line) - 1}, [(0, len(line) - 1)]
    while todo:
        start, end = todo.pop()
        inner = range(start + 1, end)
        worst = max(inner, key=lambda index: _distance(line[index], (line[start], line[end])), default=None)
        if worst is not None and _distance(line[worst], (line[start], line[end])) > tolerance_px:
            kept.add(worst)
            todo += [(start, worst), (worst, end)]
    return [line[index] for index in sorted(kept)]


def _distance(point: Point, segment: tuple[Point, Point]) -> float:
    """Distance of a point from a segment."""
    (px, py), ((ax, ay), (bx, by)) = point, segment
    length2 = (bx - ax) ** 2 + (by - ay) ** 2
    along = 0.0 if length2 == 0 else min(1.0, max(0.0, ((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / length2))
    return math.hypot(px - ax - along * (bx - ax), py - ay - along * (by - ay))


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], dict[int, tuple[int, int]]]:
    """Pixel edges with the inside on their right hand: start -> heading (0 right, 1 down, 2 left, 3 up) -> end."""
    held = np.pad(mask, 1)
    inside = held[1:-1, 1:-1]
    sides = (
        (held[:-2, 1:-1], (0, 0), (1, 0)),
        (held[1:-1, 2:], (1, 0), (1, 1)),
        (held[2:, 1:-1], (1, 1), (0, 1)),
        (held[1:-1, :-2], (0, 1), (0, 0)),
    )
    leaving: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
    for heading, (beyond, start, end) in enumerate(sides):
        for y, x in np.argwhere(inside & ~beyond).tolist():
            leaving.setdefault((x + start[0], y + start[1]), {})[heading] = (x + end[0], y + end[1])
    return leaving
