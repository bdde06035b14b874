"""Lesions and devices as fields on the chest: how much air each takes away, and where exactly it lies.

Each function takes the studies that have the finding and returns float32 [study, row, column] in [0, 1]. A part of a
mask (the second side of an effusion, each nodule) has its own label, so that it becomes a region of its own.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from medpref.sources.phantom_anatomy import Thorax, band, column, rounded, smooth
from medpref.sources.phantom_cohort import Cohort, nodule_radius

EFFUSION_LEVELS = (0.0, -0.010, -0.145, -0.300)  # y of the fluid's level above the dome, by grade
PNEUMOTHORAX_RIMS = (0.0, 0.078, 0.122, 0.175)
CONSOLIDATION_RADII = (0.0, 0.095, 0.118, 0.145)
_ZONE_DEPTH = np.array([0.27, 0.55, 0.83], np.float32)
_ZONE_REACH = np.array([0.56, 0.66, 0.68], np.float32)


class Place(NamedTuple):
    """Centre of what lies in a slot, float32 [study, 1, 1]."""

    x: np.ndarray
    y: np.ndarray


def place(chest: Thorax, cohort: Cohort, slots: np.ndarray) -> Place:
    """The middle of each study's slot, moved a little by the slot's own draw."""
    jitter = np.take_along_axis(cohort.jitter, slots[:, None, None], 1)[:, 0]
    zone = slots % 3
    sign = np.where(slots < 3, -1.0, 1.0)
    reach = _ZONE_REACH[zone] + 0.14 * (jitter[:, 0] - 0.5)
    depth = _ZONE_DEPTH[zone] + 0.10 * (jitter[:, 1] - 0.5)
    y = chest.apex + column(depth) * (chest.base - chest.apex)
    return Place(chest.middle + column(sign * reach * cohort.half_width), y)


def effusion(chest: Thorax, cohort: Cohort) -> np.ndarray:
    """Fluid from the diaphragm up to a level that climbs towards the chest wall (the meniscus)."""
    rise = 0.10 * np.clip(chest.across / chest.width, 0, 1.1) ** 4
    field = np.zeros(np.broadcast_shapes(chest.lung.shape), np.float32)
    for side in (0, 1):
        grade = cohort.effusion_grade[:, side]
        level = chest.base + column(np.asarray(EFFUSION_LEVELS)[grade]) - rise
        on = (chest.left == bool(side)) & (column(grade) > 0)
        field = np.where(on, smooth(chest.y - level, 0.03), field)
    return field


def pneumothorax(chest: Thorax, cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    """The space between the lung and the chest wall, widest at the apex, and the pleural line along it."""
    rim = column(np.asarray(PNEUMOTHORAX_RIMS)[cohort.pneumothorax_grade])
    apex = chest.apex + 1.2 * rim
    depth = (chest.y - apex) / (chest.base - apex)
    wide = rim * (1 - 0.45 * np.clip(chest.depth, 0, 1))
    peak = 0.38 * column(cohort.half_width)
    inside = np.minimum(peak + (chest.width - wide - peak) * rounded(depth) - chest.across, chest.y - apex)
    on = (chest.left == column(cohort.pneumothorax_side).astype(bool)) & (chest.across > 0.03)
    return np.where(on, smooth(-inside, 0.008), 0), np.where(on, band(inside, 0.011), 0)


def consolidation(chest: Thorax, cohort: Cohort, coarse: np.ndarray) -> np.ndarray:
    """A ragged cloud; ``coarse`` is the study's own low-frequency noise."""
    centre = place(chest, cohort, cohort.consolidation_slot)
    radius = column(np.asarray(CONSOLIDATION_RADII)[cohort.consolidation_grade])
    away = np.hypot(chest.x - centre.x, 0.9 * (chest.y - centre.y)) / radius
    return smooth(1 - away + 0.30 * coarse, 0.75)


def atelectasis(chest: Thorax, cohort: Cohort) -> np.ndarray:
    """A plate, nearly level and slightly bent, across one zone, with a thinner and shorter one below it."""
    centre = place(chest, cohort, cohort.atelectasis_slot)
    jitter = np.take_along_axis(cohort.jitter, cohort.atelectasis_slot[:, None, None], 1)[:, 0, 2]
    slope = column((jitter - 0.5) * 0.5)
    x = chest.x - centre.x
    y = chest.y - centre.y - slope * x + 1.5 * x**2
    ends = smooth(0.12 - np.abs(x), 0.05)
    thick = smooth(0.025 - np.abs(y), 0.014) * ends
    return np.maximum(thick, 0.8 * band(y - 0.056, 0.020) * smooth(0.06 - np.abs(x + 0.03), 0.03))


def nodule(chest: Thorax, cohort: Cohort, slot: int) -> np.ndarray:
    """A ball in one slot: thickest in the middle, sharply bordered."""
    centre = place(chest, cohort, np.full(len(cohort), slot))
    radius = column(nodule_radius(cohort.jitter[:, slot, 2]))
    inside = 1 - ((chest.x - centre.x) ** 2 + (chest.y - centre.y) ** 2) / radius**2
    return np.sqrt(np.clip(1.6 * inside, 0, 1))


def device(chest: Thorax, cohort: Cohort) -> np.ndarray:
    """The device of each study: all studies given have the same kind."""
    x, y = chest.x - chest.middle, chest.y
    kind = int(cohort.device[0])
    if kind == 1:
        box = smooth(0.045 - ((x - 0.265) ** 4 + 1.5 * (y - chest.apex - 0.13) ** 4) ** 0.25, 0.014)
        lead = _line(
            x, y - chest.apex, ((0.24, 0.10), (0.10, 0.09), (0.0, 0.14), (-0.035, 0.30), (-0.03, 0.48), (0.05, 0.55))
        )
        return np.maximum(box, 0.8 * lead)
    if kind == 2:
        bend = ((-0.20, -0.005), (-0.13, 0.045), (-0.06, 0.075), (-0.045, 0.14), (-0.05, 0.33))
        return _line(x, y - chest.apex, bend)
    tube = _line(x, y - chest.apex, ((0.004, -0.12), (0.0, 0.02), (0.003, 0.17)))
    return tube


def _line(x: np.ndarray, y: np.ndarray, points: tuple[tuple[float, float], ...]) -> np.ndarray:
    """A line through points, 1.3 % of the film wide."""
    nearest = np.full(np.broadcast_shapes(x.shape, y.shape), np.float32(9))
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2)
    return band(np.sqrt(nearest), 0.018)
