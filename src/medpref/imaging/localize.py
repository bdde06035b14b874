"""Where a corruption goes: the dataset's regions, a heat map's hot part, or the whole image.

A localizer's ``locate(example, image)`` returns regions of one image (``index`` of the example's images). Nothing
found is an empty tuple, never a full-image box; who wants that as a substitute writes ``fallback: whole_image``.
"""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field

from medpref.imaging.decode import Pixels
from medpref.imaging.regions import area, dilate, region_array, region_of
from medpref.registry import LOCALIZERS
from medpref.schema import Example, Frozen, Region

Fallback = Literal["none", "whole_image"]


class Localizer(Protocol):
    """Finds the regions of an example's image that carry the answer."""

    kind: str

    def locate(self, example: Example, image: Pixels, *, index: int = 0) -> tuple[Region, ...]: ...


def whole(image: Pixels, *, index: int, origin: str) -> tuple[Region, ...]:
    """One region: all of the image."""
    height, width = image.shape[:2]
    return (Region(box=(0, 0, width, height), origin=origin, image=index),)


def bounded(
    regions: tuple[Region, ...], image: Pixels, *, dilate_px: float, min_share: float, max_share: float
) -> tuple[Region, ...]:
    """The regions widened by a disc of ``dilate_px``; those smaller than ``min_share`` of the image left out.

    None at all where together they cover more than ``max_share``: such a view is no longer a local one.
    """
    height, width = image.shape[:2]
    kept = []
    for region in regions:
        inside = region_array([region], height, width)
        if dilate_px:
            inside = dilate(inside, dilate_px)
            fields = region.model_dump(include={"label", "origin", "confidence", "image"})
            region = region_of(inside, **fields)
        if area(inside) >= min_share * height * width:
            kept.append(region)
    return tuple(kept) if area(region_array(kept, height, width)) <= max_share * height * width else ()


@LOCALIZERS.add
class GivenRegions(Frozen):
    """The regions that the example comes with (dataset masks and boxes), of these ``labels`` or of all."""

    kind: Literal["given_regions"] = "given_regions"
    labels: tuple[str, ...] = ()
    dilate_px: float = Field(default=0.0, ge=0)
    min_share: float = Field(default=0.0, ge=0, le=1)
    max_share: float = Field(default=1.0, gt=0, le=1)
    fallback: Fallback = "none"

    def locate(self, example: Example, image: Pixels, *, index: int = 0) -> tuple[Region, ...]:
        wanted = {label.casefold() for label in self.labels}
        given = tuple(
            region
            for region in example.regions
            if region.image == index and (not wanted or region.label.casefold() in wanted)
        )
        limits = {"dilate_px": self.dilate_px, "min_share": self.min_share, "max_share": self.max_share}
        found = bounded(given, image, **limits)
        if found or self.fallback == "none":
            return found
        return whole(image, index=index, origin="given_regions: none, whole_image instead")


@LOCALIZERS.add
class WholeImage(Frozen):
    """All of the image: the global corruption that a local one must beat."""

    kind: Literal["whole_image"] = "whole_image"

    def locate(self, example: Example, image: Pixels, *, index: int = 0) -> tuple[Region, ...]:
        return whole(image, index=index, origin="whole_image")
