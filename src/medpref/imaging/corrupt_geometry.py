"""Pixels moved: a crop of the image, a region's patches in another order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from medpref.imaging.corrupt import Parameters, draw_seed, mask_json, mask_of, paste, stored_mask
from medpref.imaging.decode import Pixels, to_array
from medpref.registry import CORRUPTIONS
from medpref.schema import Frozen, Region


@CORRUPTIONS.add
class Crop(Frozen):
    """A random part of the image, of the same proportions, enlarged to the image's size; regions are not read.

    The part keeps a share of the area drawn uniformly from [``keep_low``, ``keep_high``] (mDPO, arXiv 2406.11839:
    0 to 0.2; the lower bound here keeps a few pixels to show).
    """

    kind: Literal["crop"] = "crop"
    keep_low: float = Field(default=0.01, gt=0, le=1)
    keep_high: float = Field(default=0.2, gt=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.keep_low > self.keep_high:
            raise ValueError(f"keep_low {self.keep_low} exceeds keep_high {self.keep_high}")
        return self

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        height, width = image.shape[:2]
        side = float(np.sqrt(rng.uniform(self.keep_low, self.keep_high)))
        tall, wide = max(1, round(side * height)), max(1, round(side * width))
        top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
        inside = np.ones((height, width), dtype=bool)
        return {"kind": self.kind, "box": [left, top, left + wide, top + tall], "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        stored_mask(parameters, image)
        left, top, right, bottom = parameters["box"]
        part = Image.fromarray(image[top:bottom, left:right])
        return to_array(part.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR))


@CORRUPTIONS.add
class ShufflePatches(Frozen):
    """The square patches that touch the mask, in another order; only pixels of the mask change.

    The grid starts at the image's upper left corner; patches cut by the right or lower edge stay where they are.
    """

    kind: Literal["shuffle_patches"] = "shuffle_patches"
    patch_px: int = Field(default=16, ge=1)

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = mask_of(regions, image, kind=self.kind)
        return {"kind": self.kind, "patch_px": self.patch_px, "seed": draw_seed(rng), "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        inside, size = stored_mask(parameters, image), parameters["patch_px"]
        patches = [
            (row, column)
            for row in range(0, image.shape[0] - size + 1, size)
            for column in range(0, image.shape[1] - size + 1, size)
            if inside[row : row + size, column : column + size].any()
        ]
        order = np.random.default_rng(parameters["seed"]).permutation(len(patches))
        moved = image.copy()
        for (row, column), index in zip(patches, order, strict=True):
            from_row, from_column = patches[index]
            moved[row : row + size, column : column + size] = image[
                from_row : from_row + size, from_column : from_column + size
            ]
        return paste(image, moved, inside)
