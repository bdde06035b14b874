"""Lesion masks as regions (box and run lengths), and boxes around empty lung."""

from __future__ import annotations

import numpy as np

from medpref.imaging.mark import Box
from medpref.schema import Mask, Region
from medpref.sources.phantom_cohort import FINDINGS, Cohort
from medpref.sources.phantom_draw import Films

_HALF_BOX = 0.085
_SPARE_PX = 2


def region(mask: np.ndarray, label: str) -> Region:
    """The region of a bool mask [row, column] that is not empty, with the tight box around it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    flat = mask.ravel()
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], turns, [flat.size]]) if not flat[0] else np.concatenate([[0, 0], turns, [flat.size]])
    height, width = mask.shape
    return Region(
        box=(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),
        label=label,
        mask=Mask(height=height, width=width, runs=tuple(np.diff(edges).tolist())),
        origin="phantom",
    )


def regions(films: Films, row: int) -> dict[str, tuple[Region, ...]]:
    """All regions of one study by finding: one for each part that shows."""
    found: dict[str, tuple[Region, ...]] = {}
    for finding in FINDINGS:
        labels = films.masks[finding][row]
        if labels.any():
            found[finding] = tuple(region(labels == part, finding) for part in np.unique(labels) if part)
    return found


def lonely_box(films: Films, row: int, box: Box, *, finding: str) -> bool:
    """Whether at most a tenth of a box shows findings other than this one."""
    left, top, right, bottom = box
    others = sum(
        (films.masks[other][row, top:bottom, left:right] > 0 for other in FINDINGS if other != finding),
        np.zeros((bottom - top, right - left), np.int64),
    )
    return bool((others > 0).mean() <= 0.1)


def spare(box: Box, size_px: int) -> Box:
    """The box with a little room around it."""
    left, top, right, bottom = box
    return (
        max(left - _SPARE_PX, 0),
        max(top - _SPARE_PX, 0),
        min(right + _SPARE_PX, size_px),
        min(bottom + _SPARE_PX, size_px),
    )


def slot_box(cohort: Cohort, row: int, slot: int, *, size_px: int) -> Box:
    """A square in the middle of a lung slot."""
    reach = (0.56, 0.62, 0.64)[slot % 3] * (-1 if slot < 3 else 1)
    x = 0.5 + float(cohort.shift[row]) + reach * float(cohort.half_width[row])
    y = float(cohort.apex[row]) + (0.30, 0.52, 0.74)[slot % 3] * float(cohort.base[row] - cohort.apex[row])
    left, top = round((x - _HALF_BOX) * size_px), round((y - _HALF_BOX) * size_px)
    side = round(2 * _HALF_BOX * size_px)
    return left, top, left + side, top + side
