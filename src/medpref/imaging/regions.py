"""Masks and boxes as arrays of booleans, and back: run lengths, union, dilation, matched background.

Arrays are bool of shape (height, width), True inside. Boxes are half-open pixels (left, top, right, bottom).
Pure functions: no file, no global seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from medpref.errors import DataError
from medpref.schema import Mask, Region

Inside = NDArray[np.bool_]
PARTS = 32  # of a mask that falls apart into more, no part is moved alone


def mask_to_array(mask: Mask) -> Inside:
    """The mask as booleans of shape (height, width).

    >>> mask_to_array(Mask(height=1, width=4, runs=(1, 2, 1))).tolist()
    [[False, True, True, False]]
    """
    values = np.arange(len(mask.runs)) % 2 == 1
    return np.repeat(values, mask.runs).reshape(mask.height, mask.width)


def array_to_mask(inside: Inside) -> Mask:
    """The run lengths of booleans of shape (height, width), row by row, starting with a run of False."""
    flat = np.asarray(inside, dtype=bool).ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    return Mask(height=inside.shape[0], width=inside.shape[1], runs=tuple([0, *runs] if flat[0] else runs))


def bounding_box(inside: Inside) -> tuple[int, int, int, int]:
    """The smallest box around the True pixels; ValueError where there are none."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        raise ValueError("an empty mask has no bounding box")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def region_of(inside: Inside, **fields: Any) -> Region:
    """A region with this mask, its bounding box, and the fields given (label, origin, confidence, image)."""
    return Region(box=bounding_box(inside), mask=array_to_mask(inside), **fields)


def box_array(box: tuple[int, int, int, int], height: int, width: int) -> Inside:
    """The box as booleans, cut at the image's edges; DataError where it lies wholly outside."""
    left, top, right, bottom = box
    inside = np.zeros((height, width), dtype=bool)
    inside[top:bottom, left:right] = True
    if not inside.any():
        given, expected = f"box {list(box)}", f"a box that meets the image of {width} x {height} pixels"
        raise DataError("region", given=given, expected=expected, todo="write boxes in pixels of the stored image")
    return inside


def region_array(regions: Iterable[Region], height: int, width: int) -> Inside:
    """The union of regions as booleans: each one's mask if it has one, else its box; all False for no regions."""
    union = np.zeros((height, width), dtype=bool)
    for region in regions:
        if region.mask is None:
            union |= box_array(region.box, height, width)
        elif (region.mask.height, region.mask.width) == (height, width):
            union |= mask_to_array(region.mask)
        else:
            given = f"a mask of {region.mask.width} x {region.mask.height} pixels"
            expected = f"the image's {width} x {height}"
            raise DataError(f"region {region.label!r}", given=given, expected=expected, todo="resize the mask")
    return union


def area(inside: Inside) -> int:
    """The number of True pixels."""
    return int(np.count_nonzero(inside))


def dilate(inside: Inside, radius_px: float) -> Inside:
    """Every pixel whose centre lies within ``radius_px`` of a True pixel's centre (a disc; 0 changes nothing)."""
    if radius_px <= 0 or not inside.any():
        return inside.copy()
    return np.asarray(ndimage.distance_transform_edt(~inside) <= radius_px)


def matched_background(
    mask: Inside, rng: np.random.Generator, *, image: NDArray[np.uint8] | None = None, alike: float = 1.0
) -> Inside:
    """An equal area that misses the mask: the mask's own shape, moved elsewhere inside the image.

    The place is drawn among all that miss the mask; with ``image``, among the share ``alike`` of them whose mean
    brightness is nearest to the mask's own, so that the control does not land on the empty margin of a film.
    Where the shape fits nowhere, its connected parts are moved one by one; where these do not fit either, a compact
    patch of the same area is taken. DataError where the mask is empty or covers more than half of the image.
    """
    size, total = area(mask), mask.size
    if not 0 < 2 * size <= total:
        given = f"a region that covers {size / total:.0%} of the image"
        todo = "limit the region's area (max_share), or leave the control out"
        raise DataError("background region", given=given, expected="more than nothing and at most half", todo=todo)
    grey = image.mean(axis=2) if image is not None and image.ndim == 3 else image
    labels, count = ndimage.label(mask)
    for parts in ([mask], [labels == number for number in range(1, count + 1) if count <= PARTS]):
        moved = _move(parts, mask, rng, grey, alike)
        if area(moved) == size:
            return moved
    return _patch(mask, rng, size)


def _move(
    parts: list[Inside], mask: Inside, rng: np.random.Generator, grey: NDArray[Any] | None, alike: float
) -> Inside:
    """The parts, largest first, each moved to where neither the mask nor an earlier part is; those that fit."""
    moved = np.zeros_like(mask)
    for part in sorted(parts, key=area, reverse=True):
        left, top, right, bottom = bounding_box(part)
        shape = part[top:bottom, left:right]
        free = _correlate(mask | moved, shape) < 0.5
        if not free.any():
            break
        if grey is not None:
            distance = np.abs(_correlate(grey, shape) / area(shape) - grey[part].mean())
            free &= distance <= np.quantile(distance[free], alike) + 1e-9
        row, column = np.argwhere(free)[rng.integers(int(free.sum()))]
        moved[row : row + shape.shape[0], column : column + shape.shape[1]] |= shape
    return moved


def _correlate(values: NDArray[Any], shape: Inside) -> NDArray[np.float64]:
    """The sum of values under the shape, for every place of its box's upper left corner inside the image."""
    flipped = shape[::-1, ::-1].astype(np.float64)
    return np.asarray(signal.fftconvolve(values.astype(np.float64), flipped, mode="valid"))


def _patch(mask: Inside, rng: np.random.Generator, size: int) -> Inside:
    """``size`` pixels outside the mask, nearest to one drawn at random."""
    outside = np.argwhere(~mask)
    centre = outside[rng.integers(len(outside))]
    nearest = np.argsort(((outside - centre) ** 2).sum(axis=1), kind="stable")[:size]
    patch = np.zeros_like(mask)
    patch[tuple(outside[nearest].T)] = True
    return patch
