"""The regions a user wrote as regions of the schema: mask files read, sizes and boxes checked against the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medpref.errors import DataError
from medpref.imaging.decode import read_array
from medpref.imaging.regions import Inside, mask_to_array, region_of
from medpref.schema import Mask, Region
from medpref.sources.problem import naming
from medpref.sources.rows import Row, RowRegion

Size = tuple[int, int]


def row_regions(row: Row, sizes: Sequence[Size], folder: Path, *, where: str) -> tuple[Region, ...]:
    """The row's regions; ``sizes`` are (height, width) of its images. DataError names the region that does not fit."""
    regions = []
    for index, region in enumerate(row.regions):
        with naming(f"{where}:regions.{index}"):
            regions.append(region_from(region, sizes[region.image], folder))
    return tuple(regions)


def region_from(region: RowRegion, size: Size, folder: Path) -> Region:
    """One region of an image of ``size`` (height, width); its box comes from the mask where it has none."""
    fields = region.model_dump(exclude={"box", "mask"})
    if region.box is not None and (region.box[2] > size[1] or region.box[3] > size[0]):
        expected = f"a box inside the image's {size[1]} x {size[0]} pixels"
        todo = "write boxes in pixels of this file (left, top, right, bottom)"
        raise DataError("box", given=f"{list(region.box)}", expected=expected, todo=todo)
    if region.box is not None and region.mask is None:
        return Region(box=region.box, **fields)
    inside = mask_to_array(region.mask) if isinstance(region.mask, Mask) else read_mask(folder / str(region.mask))
    if inside.shape != size:
        given = f"{inside.shape[1]} x {inside.shape[0]} pixels"
        raise DataError("mask", given=given, expected=f"the image's {size[1]} x {size[0]}", todo="resize the mask")
    if not inside.any():
        raise DataError("mask", given="no pixel inside", expected="at least one", todo="leave the region out")
    found = region_of(inside, **fields)
    return found if region.box is None else found.model_copy(update={"box": region.box})


def read_mask(path: Path) -> Inside:
    """A mask file as booleans of shape (height, width): True where any channel is not 0."""
    pixels = read_array(path)
    return np.asarray(pixels > 0 if pixels.ndim == 2 else (pixels > 0).any(axis=2))
