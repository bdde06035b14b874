"""What every corruption shares: draw once, store, apply for ever.

A corruption is a frozen value of two verbs. ``draw(image, regions, rng)`` decides everything random and returns
JSON-able parameters (the kind, the operator's values, the seed, the mask as run lengths). ``apply(image, parameters)``
reads nothing else, so a stored pair rebuilds its corrupt view with `reapply`. Arithmetic is in float64 on the 0-255
scale, then rounded, clipped, and only then made uint8; pixels outside the mask keep their bits.

Images are uint8 of shape (height, width) or (height, width, 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medpref.errors import DataError
from medpref.imaging.decode import Pixels
from medpref.imaging.regions import Inside, array_to_mask, mask_to_array, region_array
from medpref.registry import CORRUPTIONS
from medpref.schema import Mask, Region

Parameters = dict[str, Any]


class Corruption(Protocol):
    """How a corrupt view is made of a clean one."""

    kind: str

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters: ...

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels: ...


def reapply(image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
    """The corrupt view that stored parameters describe, bit for bit, whatever the recipe says today."""
    kind = str(parameters.get("kind"))
    corruption: Corruption = CORRUPTIONS.parse(kind, where="stored corruption parameters")
    return corruption.apply(image, parameters)


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for `apply`, drawn; at most 2^53 so that every JSON reader keeps it."""
    return int(rng.integers(2**53))


def mask_of(regions: Iterable[Region], image: Pixels, *, kind: str) -> Inside:
    """The union of the regions; DataError where it is empty: a corruption of nothing would pass for a corrupt view."""
    inside = region_array(regions, image.shape[0], image.shape[1])
    if not inside.any():
        todo = "drop the corrupt view, or localize with whole_image"
        raise DataError(f"corruption {kind!r}", given="no region", expected="at least one pixel to corrupt", todo=todo)
    return inside


def mask_json(inside: Inside) -> dict[str, Any]:
    """The mask as a JSON-able mapping of run lengths."""
    return array_to_mask(inside).model_dump(mode="json")


def stored_mask(parameters: Mapping[str, Any], image: Pixels) -> Inside:
    """The mask of stored parameters; DataError where it is of another size than the image."""
    mask = Mask.model_validate(parameters["mask"])
    if (mask.height, mask.width) != image.shape[:2]:
        given = f"an image of {image.shape[1]} x {image.shape[0]} pixels"
        expected = f"{mask.width} x {mask.height}, as when the parameters were drawn"
        raise DataError(f"corruption {parameters['kind']!r}", given=given, expected=expected, todo="use that image")
    return mask_to_array(mask)


def paste(image: Pixels, values: NDArray[Any] | np.floating, inside: Inside) -> Pixels:
    """The image with ``values`` (float, of the image's shape or broadcast to it) inside the mask."""
    shown = np.clip(np.rint(np.broadcast_to(values, image.shape)), 0, 255).astype(np.uint8)
    out = image.copy()
    out[inside] = shown[inside]
    return out


def standard_normal(seed: int, image: Pixels) -> NDArray[np.float64]:
    """Independent N(0, 1) for every pixel and channel, from the seed alone."""
    return np.random.default_rng(seed).standard_normal(image.shape)
