"""What the other side of a symmetric film shows: an eraser for findings that paint from the rim does not take away.

Effusions and consolidations reach opaque tissue or fade out, so that what surrounds them is as bright as they are and
inpainting puts them back. Knows: the film's vertical midline. Does not know: what else the other side holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy import ndimage

from medpref.errors import DataError
from medpref.imaging.corrupt import Parameters, mask_json, mask_of, paste, stored_mask
from medpref.imaging.decode import Pixels
from medpref.registry import CORRUPTIONS
from medpref.schema import Frozen, Region


@CORRUPTIONS.add
class Mirror(Frozen):
    """The mask as the film mirrored at its vertical midline shows it, faded in over ``feather_px`` inside the rim.

    DataError where more than ``overlap`` of the mask lies on its own mirror image: a heart, or a finding on both
    sides, would be replaced by itself.
    """

    kind: Literal["mirror"] = "mirror"
    feather_px: float = Field(default=2.0, gt=0)
    overlap: float = Field(default=0.2, ge=0, le=1)

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = mask_of(regions, image, kind=self.kind)
        share = float((inside & inside[:, ::-1]).sum() / inside.sum())
        if share > self.overlap:
            given = f"a region that covers {share:.0%} of itself when mirrored"
            todo = "choose another corruption for findings of the midline or of both sides"
            raise DataError(f"corruption {self.kind!r}", given=given, expected="a region on one side", todo=todo)
        return {"kind": self.kind, "feather_px": self.feather_px, "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        inside = stored_mask(parameters, image)
        depth = ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1]
        share = np.clip(depth / parameters["feather_px"], 0, 1)
        share = share.reshape(*share.shape, *(1,) * (image.ndim - 2))
        return paste(image, share * image[:, ::-1] + (1 - share) * image, inside)
