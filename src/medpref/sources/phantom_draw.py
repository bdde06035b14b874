"""``draw(cohort)``: grey films and exact lesion masks, from arrays to arrays, with no randomness of its own.

Densities add up along the ray; air takes density away. A lesion fills air (or, a pneumothorax, adds some), so a film
and its counterfactual differ where the lesion lies in visible lung, and nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medpref.sources import phantom_anatomy as anatomy
from medpref.sources import phantom_film as film
from medpref.sources import phantom_lesions as lesions
from medpref.sources.phantom_cohort import (
    ATELECTASIS,
    CARDIOMEGALY,
    CONSOLIDATION,
    DEVICE,
    EFFUSION,
    FINDINGS,
    NODULE,
    PNEUMOTHORAX,
    Cohort,
)

CHUNK = 8
GRAIN_GREY = 5.0
AIR, MOTTLE, VESSELS = 0.38, 0.012, 0.13
FAINT = 0.12  # the fraying rim of a field that is cut off, so that lesions end
SEEN = 0.02  # a pixel belongs to the mask where this much of the lesion shows


class Films(NamedTuple):
    """Films uint8 [study, row, column], and masks uint8 [study, row, column] by finding: 0, or the part's number."""

    images: np.ndarray
    masks: dict[str, np.ndarray]


class _Layers(NamedTuple):
    """What lesions change: air left in [0, 1], density added, share of vessels left."""

    air: np.ndarray
    added: np.ndarray
    vessels: np.ndarray


def draw(cohort: Cohort, size_px: int = 128, *, grain_grey: float = GRAIN_GREY) -> Films:
    """The films of a cohort; equal rows give equal bytes whatever else is in the cohort."""
    count = len(cohort)
    films = Films(
        np.empty((count, size_px, size_px), np.uint8),
        {finding: np.zeros((count, size_px, size_px), np.uint8) for finding in FINDINGS},
    )
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        views = Films(films.images[rows], {finding: mask[rows] for finding, mask in films.masks.items()})
        _draw_chunk(cohort.take(rows), size_px, grain_grey=grain_grey, out=views)
    return films


def _draw_chunk(cohort: Cohort, size_px: int, *, grain_grey: float, out: Films) -> None:
    chest = anatomy.thorax(cohort, size_px)
    grain, coarse = film.noise(cohort.noise_seed, size_px)
    stem = anatomy.mediastinum(chest, cohort)
    seen = chest.lung * (1 - chest.heart) * (1 - stem)
    layers = _Layers(seen.copy(), np.zeros_like(seen), np.ones_like(seen))
    _fill(layers, chest, cohort, seen=seen, coarse=coarse, masks=out.masks)
    density = _normal(chest, cohort, stem=stem)
    trees = film.vessel_trees(size_px)[cohort.vessels % film.VESSEL_TREES]
    density += MOTTLE * coarse * (density > 0.1)
    density += layers.air * (VESSELS * layers.vessels * trees - AIR) + layers.added
    grey = film.tone(film.blur(density) * anatomy.column(cohort.gain))
    grey += np.float32(grain_grey) * grain * (0.35 + grey * np.float32(0.65 / 160))
    np.clip(grey, 0, 255, out=grey)
    out.images[:] = grey.astype(np.uint8)
    film.write_letters(
        out.images, ["RL"[side] for side in cohort.marker], sides=cohort.marker, jitter=cohort.marker_jitter
    )
    views = ["AP" if front else "" for front in cohort.anteroposterior]
    film.write_letters(out.images, views, sides=1 - cohort.marker, jitter=cohort.marker_jitter)


def _normal(chest: anatomy.Thorax, cohort: Cohort, *, stem: np.ndarray) -> np.ndarray:
    """Density of the chest without air: body, heart, mediastinum, belly, bones, breasts."""
    wall = anatomy.body(chest, cohort)
    inner = anatomy.smooth(chest.width + 0.03 - chest.across, 0.10)
    belly = anatomy.smooth(chest.y - chest.diaphragm, 0.015) * inner
    trachea = anatomy.band(chest.x - chest.middle - 0.004, 0.02) * anatomy.smooth(chest.apex + 0.24 - chest.y, 0.03)
    breast = anatomy.smooth(0.13 - np.hypot(chest.across - 0.21, chest.y - 0.68), 0.05) * anatomy.column(cohort.breast)
    bubble = anatomy.smooth(
        0.05 - np.hypot(0.7 * (chest.x - chest.middle - 0.17), chest.y - chest.diaphragm - 0.062), 0.02
    ) * anatomy.column(cohort.bubble)
    stem = stem * anatomy.smooth(chest.y - chest.apex + 0.02, 0.14)
    soft = wall + (0.08 + 0.10 * chest.bulk) * chest.heart + 0.13 * stem * (1 - chest.heart) + 0.20 * belly + breast
    soft -= 0.07 * trachea + 0.22 * bubble
    return soft + anatomy.bones(chest, cohort) * (wall > 0.05)


def _fill(
    layers: _Layers,
    chest: anatomy.Thorax,
    cohort: Cohort,
    *,
    seen: np.ndarray,
    coarse: np.ndarray,
    masks: dict[str, np.ndarray],
) -> None:
    """Lay every lesion into the layers, in place, and note where it shows."""
    masks[CARDIOMEGALY][:] = (chest.heart > 0.2) & (anatomy.column(cohort.heart_grade) > 0)
    _pneumothorax(layers, chest, cohort, seen=seen, mask=masks[PNEUMOTHORAX])
    for finding, opacity, extra in (
        (CONSOLIDATION, 0.95, 0.05),
        (EFFUSION, 0.98, 0.12),
        (ATELECTASIS, 0.97, 0.12),
        (NODULE, 0.95, 0.12),
    ):
        rows = np.flatnonzero(cohort.present(finding))
        if not len(rows):
            continue
        part, ours = _take(chest, rows), cohort.take(rows)
        field, labels = _field(finding, part, ours, coarse=coarse[rows])
        field = _ending(field)
        masks[finding][rows] = labels * (field * seen[rows] > SEEN)
        layers.air[rows] *= 1 - np.float32(opacity) * field
        layers.added[rows] += np.float32(extra) * field * seen[rows]
    for kind in (1, 2, 3):
        rows = np.flatnonzero(cohort.device == kind)
        if len(rows):
            field = _ending(lesions.device(_take(chest, rows), cohort.take(rows)))
            masks[DEVICE][rows] = field > SEEN
            layers.added[rows] += np.float32(0.5) * field


def _ending(field: np.ndarray) -> np.ndarray:
    """The field without its faint rim, still 1 at most."""
    return np.maximum(field - np.float32(FAINT), 0) * np.float32(1 / (1 - FAINT))


def _field(finding: str, chest: anatomy.Thorax, cohort: Cohort, *, coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A lesion's field, and the number of the part at each pixel."""
    if finding == EFFUSION:
        return lesions.effusion(chest, cohort), np.where(chest.left, 2, 1).astype(np.uint8)
    if finding == NODULE:
        return _nodules(chest, cohort)
    field = (
        lesions.atelectasis(chest, cohort) if finding == ATELECTASIS else lesions.consolidation(chest, cohort, coarse)
    )
    return field, np.ones((1, 1, 1), np.uint8)


def _nodules(chest: anatomy.Thorax, cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    field = np.zeros(chest.lung.shape, np.float32)
    labels = np.zeros(chest.lung.shape, np.uint8)
    for slot in range(6):
        rows = np.flatnonzero(cohort.nodule_slots[:, slot])
        if len(rows):
            one = lesions.nodule(_take(chest, rows), cohort.take(rows), slot)
            labels[rows] = np.where(one > 0, slot + 1, labels[rows])
            field[rows] = np.maximum(field[rows], one)
    return field, labels


def _pneumothorax(
    layers: _Layers, chest: anatomy.Thorax, cohort: Cohort, *, seen: np.ndarray, mask: np.ndarray
) -> None:
    rows = np.flatnonzero(cohort.pneumothorax_grade)
    if not len(rows):
        return
    space, line = lesions.pneumothorax(_take(chest, rows), cohort.take(rows))
    mask[rows] = np.maximum(space, line) * seen[rows] > SEEN
    layers.vessels[rows] *= 1 - space
    layers.added[rows] += seen[rows] * (0.30 * line - 0.20 * space)


def _take(chest: anatomy.Thorax, rows: np.ndarray) -> anatomy.Thorax:
    """The geometry of some studies (axes of length 1 stay)."""
    return anatomy.Thorax(*(array if len(array) == 1 else array[rows] for array in chest))
