"""The normal chest as densities: body, lungs, heart, mediastinum, diaphragm, ribs, clavicles and spine, vectorised.

Film coordinates: x in [-0.5, 0.5] from picture left (the patient's right) to right, y in [0, 1] downwards, so that
every length is a fraction of the film's width. Arrays are float32 [study, row, column]; axes of length 1 broadcast.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from medpref.sources.phantom_cohort import Cohort

HEART_RATIOS = (0.0, 0.565, 0.625, 0.685)  # cardiothoracic ratio at the middle of each grade of cardiomegaly


class Thorax(NamedTuple):
    """One chest's geometry, shared by anatomy and lesions. Distances are positive inside."""

    x: np.ndarray  # [1, 1, column]
    y: np.ndarray  # [1, row, 1]
    across: np.ndarray  # distance from the midline [study, 1, column]
    left: np.ndarray  # bool: the patient's left [study, 1, column]
    width: np.ndarray  # inner half width of this column's side [study, 1, column]
    depth: np.ndarray  # 0 at the apex, 1 at the dome of the diaphragm [study, row, 1]
    lateral: np.ndarray  # distance from the lung's outer border
    diaphragm: np.ndarray  # y of the diaphragm [study, 1, column]
    lung: np.ndarray  # 1 inside either lung
    heart: np.ndarray  # 1 inside the heart, above the diaphragm
    bulk: np.ndarray  # how thick the heart is, 0 to 1
    apex: np.ndarray  # [study, 1, 1], as are the next two
    base: np.ndarray
    middle: np.ndarray  # x of the midline


def smooth(distance: np.ndarray, width: float) -> np.ndarray:
    """A soft step: 0 where the distance is below -width/2, 1 above width/2."""
    t = distance * np.float32(1 / width)
    t += np.float32(0.5)
    return _ease(t)


def band(distance: np.ndarray, half_width: float) -> np.ndarray:
    """A soft line: 1 on the line, 0 from ``half_width`` on."""
    t = np.abs(distance)
    t *= np.float32(-1 / half_width)
    t += np.float32(1)
    return _ease(t)


def _ease(t: np.ndarray) -> np.ndarray:
    """3 t^2 - 2 t^3 of t clipped to [0, 1]; t is used up (in place, as drawing is bound by memory)."""
    np.clip(t, 0, 1, out=t)
    eased = t * np.float32(-2)
    eased += np.float32(3)
    eased *= t
    eased *= t
    return eased


def column(values: np.ndarray) -> np.ndarray:
    """One number a study as float32 [study, 1, 1]."""
    return np.asarray(values, np.float32)[:, None, None]


@functools.lru_cache(maxsize=8)
def _grid(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    step = (np.arange(size_px, dtype=np.float32) + np.float32(0.5)) / np.float32(size_px)
    return (step - np.float32(0.5))[None, None, :], step[None, :, None]


def thorax(cohort: Cohort, size_px: int) -> Thorax:
    """The geometry of each study's chest."""
    x, y = _grid(size_px)
    middle, half = column(cohort.shift), column(cohort.half_width)
    apex, base = column(cohort.apex), column(cohort.base)
    across, left = np.abs(x - middle), x > middle
    turn = 0.03 * column(cohort.rotation)
    width = half * np.where(left, 1 + turn, 1 - turn)
    depth = (y - apex) / (base - apex)
    dome = base + np.where(left, np.float32(0.018), np.float32(0))
    lateral_drop = 0.075 * np.clip((across / width - 0.45) / 0.55, 0, 1.3) ** 2
    medial_drop = 0.012 * np.clip((0.45 - across / width) / 0.45, 0, 1) ** 2
    diaphragm = dome + lateral_drop + medial_drop

    peak = 0.38 * half
    lateral = peak + (width - peak) * rounded(depth) - across
    medial = across - (0.052 + (peak - 0.052) * np.exp(-np.maximum(depth, 0) / 0.045))
    inside = np.minimum(np.minimum(lateral, medial), np.minimum(diaphragm - y, y - apex))
    heart = _heart(cohort, x, y, middle=middle, base=base)
    return Thorax(
        x=x,
        y=y,
        across=across,
        left=left,
        width=width,
        depth=depth,
        lateral=lateral,
        diaphragm=diaphragm,
        lung=smooth(inside, 0.02),
        heart=smooth(heart, 0.028) * smooth(diaphragm - y, 0.02),
        bulk=np.clip(heart * np.float32(8), 0, 1),
        apex=apex,
        base=base,
        middle=middle,
    )


def rounded(depth: np.ndarray) -> np.ndarray:
    """The share of its full width that a lung reaches at a depth below its apex."""
    return (1 - (1 - np.clip(depth, 0, 1)) ** 2.3) ** 0.62


def _heart(cohort: Cohort, x: np.ndarray, y: np.ndarray, *, middle: np.ndarray, base: np.ndarray) -> np.ndarray:
    """A leaning ellipse whose width is the cardiothoracic ratio times the inner width of the chest.

    Comes back as the distance inside its border, negative outside.
    """
    jitter = 0.02 * (column(cohort.jitter[:, 5, 2]) - np.float32(0.5))
    grade = column(np.asarray(HEART_RATIOS)[cohort.heart_grade])
    ratio = np.where(grade > 0, grade + jitter, column(cohort.heart_ratio))
    half = ratio * column(cohort.half_width)
    height = 0.165 + 0.14 * (ratio - np.float32(0.42))
    lean = np.float32(0.34)
    axis = np.sqrt(half**2 - (lean * height) ** 2)
    low = y - (base - 0.60 * height)
    centre = middle + 0.012 * column(cohort.rotation) + 0.30 * half
    square = ((x - centre - lean * low) / axis) ** 2 + (low / height) ** 2
    return (1 - np.sqrt(square)) * half


def mediastinum(chest: Thorax, cohort: Cohort) -> np.ndarray:
    """1 where great vessels, aortic knob and spine hide the lung."""
    turn = 0.012 * column(cohort.rotation)
    x = chest.x - chest.middle - turn
    down = np.clip(chest.depth, 0, 1)
    stem = 0.048 + 0.030 * down - np.abs(x - 0.006)
    span = chest.base - chest.apex
    knob = 0.038 - np.hypot(x - 0.044, 0.8 * (chest.y - chest.apex - 0.33 * span))
    trunk = 0.050 - np.hypot(x - 0.042, 0.6 * (chest.y - chest.apex - 0.52 * span))
    return smooth(np.maximum(np.maximum(stem, knob), trunk), 0.018) * smooth(chest.diaphragm + 0.03 - chest.y, 0.10)


def body(chest: Thorax, cohort: Cohort) -> np.ndarray:
    """Density of skin, muscle and fat: 0 outside the body; neck, shoulders, trunk and belly."""
    side = np.abs(chest.x - 0.6 * chest.middle)
    neck = smooth(0.105 + 0.9 * np.maximum(chest.y - 0.045, 0) - side, 0.02) * smooth(0.25 - chest.y, 0.1)
    slope = 0.055 + 0.30 * np.clip(side - 0.12, 0, 0.22) + 1.6 * np.maximum(side - 0.36, 0) ** 2
    half = chest_wall(cohort) + 0.10 * smooth(0.37 - chest.y, 0.30) + 0.03 * smooth(chest.y - 0.80, 0.4)
    trunk = smooth(half - side, 0.02) * smooth(chest.y - slope, 0.02)
    round_off = np.sqrt(np.maximum(1 - (side / half) ** 2, np.float32(0.04)))
    return np.maximum(neck, trunk) * (0.33 + 0.24 * round_off + 1.2 * (column(cohort.wall) - np.float32(0.075)))


def chest_wall(cohort: Cohort) -> np.ndarray:
    """Outer half width of the trunk [study, 1, 1]."""
    return column(cohort.half_width + cohort.wall)


def bones(chest: Thorax, cohort: Cohort) -> np.ndarray:
    """Density of ribs, clavicles, spine and shoulders."""
    cage = smooth(chest.lateral + 0.012, 0.02) * smooth(chest.y - chest.apex + 0.01, 0.03)
    cage = cage * smooth(chest.base + 0.12 - chest.y, 0.06)
    gap = column(cohort.rib_gap)
    reach = chest.across / chest.width
    bend = 0.13 * np.abs(reach - 0.28) ** 2.0
    posterior = _ribs((chest.y - bend - 0.03) / gap + column(cohort.rib_phase), 0.21)
    fade = np.clip((reach - 0.35) / 0.25, 0, 1)
    anterior = _ribs((chest.y + 0.22 * reach) / (1.12 * gap) + column(cohort.rib_phase) + np.float32(0.3), 0.19)
    shown = cage * (0.35 + 0.65 * chest.lung)
    x = chest.x - chest.middle
    vertebra = np.abs((chest.y / 0.062) % 1 - np.float32(0.5))
    spine = smooth(0.036 - np.abs(x), 0.014) * (0.02 + 0.05 * smooth(vertebra - 0.12, 0.16))
    return shown * (0.08 * posterior + 0.045 * fade * anterior) + spine + _shoulder_girdle(chest, cohort)


def _ribs(phase: np.ndarray, half_width: float) -> np.ndarray:
    """1 on ribs, which repeat with every whole phase; their borders are brighter than their middle."""
    away = np.abs(phase - np.rint(phase))
    return smooth(half_width - away, 0.10) * (0.62 + 0.38 * smooth(away - 0.5 * half_width, 0.10))


def _shoulder_girdle(chest: Thorax, cohort: Cohort) -> np.ndarray:
    """Clavicles, blades (over the lungs on an anteroposterior film, beside them else) and heads of the upper arms."""
    x = chest.x - chest.middle
    tilt = 0.016 * column(cohort.rotation) * np.sign(x)
    front = column(cohort.anteroposterior)
    height = chest.apex + 0.105 - 0.03 * front
    s_curve = height - 0.36 * (chest.across - 0.03) + 0.34 * np.maximum(chest.across - 0.17, 0) + tilt
    ends = smooth(chest.across - 0.035, 0.02) * smooth(0.36 - chest.across, 0.03)
    clavicle = smooth(0.013 - np.abs(chest.y - s_curve), 0.012) * ends
    inner = chest.width * (1.0 - 0.22 * front) - 0.02
    blade = smooth(chest.across - inner - 0.16 * (chest.y - 0.2), 0.012) * smooth(0.44 - chest.y, 0.05)
    blade = blade * smooth(chest.y - 0.15, 0.05) * smooth(inner + 0.12 - chest.across, 0.05)
    arm = smooth(0.055 - np.hypot(chest.across - 0.455, chest.y - 0.205), 0.02)
    return 0.17 * clavicle + 0.05 * blade + 0.14 * arm
