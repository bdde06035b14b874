"""What corruptions and localizers promise: chance is drawn once and stored, and nothing is written into the image."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from medpref.imaging.corrupt import reapply
from medpref.imaging.decode import Pixels
from medpref.imaging.regions import mask_to_array
from medpref.schema import Example, Mask, Region
from medpref.seeds import generator
from medpref.testing.promise import promise
from medpref.testing.studies import Studies


def check_corruption(corruption: Any, studies: Studies) -> None:
    """Drawn from the generator alone, JSON-able, applied alike for ever, pixels outside the stored mask untouched."""
    for example, image in zip(studies.examples, studies.images, strict=True):
        if example.regions:
            _check_corrupted(corruption, image, example)


def _check_corrupted(corruption: Any, image: Pixels, example: Example) -> None:
    before = image.copy()
    drawn = corruption.draw(image, example.regions, generator(0, "contract", example.id))
    again = corruption.draw(image, example.regions, generator(0, "contract", example.id))
    stored = json.loads(json.dumps(drawn, allow_nan=False))
    promise(stored == json.loads(json.dumps(again, allow_nan=False)), "draws differently from one generator state")
    promise(drawn.get("kind") == corruption.kind, "draws parameters without its kind")
    inside = mask_to_array(Mask.model_validate(stored["mask"]))
    promise(inside.shape == image.shape[:2], "draws a mask of another size than the image")
    first, second = corruption.apply(image, drawn), corruption.apply(image, stored)
    promise(np.array_equal(first, second), "gives another image from stored parameters, or the second time")
    promise(np.array_equal(first, reapply(image, stored)), "cannot be rebuilt from its parameters alone")
    promise(first.dtype == np.uint8 and first.ndim in (2, 3), "gives no uint8 image, grey or in colour")
    promise(np.array_equal(image, before), "writes into the clean image")
    if first.shape == image.shape:
        promise(np.array_equal(first[~inside], image[~inside]), "changes pixels outside the mask that it stores")


def check_localizer(localizer: Any, studies: Studies) -> None:
    """Regions of the image asked about and inside it; the same twice; the image untouched."""
    for example, image in zip(studies.examples, studies.images, strict=True):
        before = image.copy()
        found = localizer.locate(example, image, index=0)
        promise(isinstance(found, tuple), "gives no tuple of regions (nothing found is the empty tuple)")
        promise(found == localizer.locate(example, image, index=0), "finds other regions the second time")
        promise(np.array_equal(image, before), "writes into the image")
        for region in found:
            _check_region(region, image)


def _check_region(region: Region, image: Pixels) -> None:
    height, width = image.shape[:2]
    promise(region.image == 0, "finds a region of another image than the one asked about")
    promise(region.box[2] <= width and region.box[3] <= height, "finds a region that leaves the image")
    if region.mask is not None:
        promise((region.mask.height, region.mask.width) == (height, width), "gives a mask of another size")
