"""A region filled: black, with the mean of the rest, blurred, or inpainted from its surroundings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

from medpref.errors import DataError
from medpref.imaging.corrupt import Parameters, draw_seed, mask_json, mask_of, paste, standard_normal, stored_mask
from medpref.imaging.decode import Pixels
from medpref.imaging.regions import Inside, dilate
from medpref.registry import CORRUPTIONS
from medpref.schema import Frozen, Region

RING_PX = 6.0


@CORRUPTIONS.add
class Blackout(Frozen):
    """The mask in one grey level, black unless ``value`` (0-255) says otherwise."""

    kind: Literal["blackout"] = "blackout"
    value: int = Field(default=0, ge=0, le=255)

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = mask_of(regions, image, kind=self.kind)
        return {"kind": self.kind, "value": self.value, "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        return paste(image, np.float64(parameters["value"]), stored_mask(parameters, image))


@CORRUPTIONS.add
class MeanFill(Frozen):
    """The mask in the mean colour of the pixels outside it (of the whole image, where the mask is the whole image)."""

    kind: Literal["mean_fill"] = "mean_fill"

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = mask_of(regions, image, kind=self.kind)
        outside = image[~inside] if not inside.all() else image.reshape(-1, *image.shape[2:])
        value = np.atleast_1d(outside.mean(axis=0)).tolist()
        return {"kind": self.kind, "value": value, "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        value = np.asarray(parameters["value"], dtype=np.float64)
        return paste(image, value if image.ndim == 3 else value[0], stored_mask(parameters, image))


@CORRUPTIONS.add
class Blur(Frozen):
    """The mask as seen through a Gaussian blur of the image; ``sigma_px`` in pixels of the stored image."""

    kind: Literal["blur"] = "blur"
    sigma_px: float = Field(default=8.0, gt=0)

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = mask_of(regions, image, kind=self.kind)
        return {"kind": self.kind, "sigma_px": self.sigma_px, "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        return paste(image, _smooth(image, parameters["sigma_px"]), stored_mask(parameters, image))


@CORRUPTIONS.add
class Inpaint(Frozen):
    """The mask continued smoothly from its rim, with the grain of its surroundings.

    Inside, the harmonic function that meets the rim (Laplace's equation, 4 neighbours, no flow across the image's
    edge), plus ``grain`` times Gaussian noise as strong as the fine texture within 6 pixels of the mask.
    """

    kind: Literal["inpaint"] = "inpaint"
    grain: float = Field(default=1.0, ge=0)

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = mask_of(regions, image, kind=self.kind)
        if inside.all():
            todo = "limit the region's area, or choose another corruption"
            given = "a region that is the whole image"
            raise DataError(f"corruption {self.kind!r}", given=given, expected="surroundings to continue", todo=todo)
        sigma = self.grain * _grain(image, inside)
        return {"kind": self.kind, "sigma": sigma, "seed": draw_seed(rng), "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        inside = stored_mask(parameters, image)
        noise = standard_normal(parameters["seed"], image) * parameters["sigma"]
        return paste(image, harmonic_fill(image, inside) + noise, inside)


def harmonic_fill(image: NDArray[Any], inside: Inside) -> NDArray[np.float64]:
    """The image with the mask replaced by the mean of its 4 neighbours, everywhere at once (one sparse solve)."""
    filled = image.astype(np.float64)
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(int(inside.sum()))
    here, there = _neighbours(inside)
    inner = inside[there]
    rows, columns = number[here], number[there]
    degree = np.bincount(rows, minlength=int(inside.sum())).astype(np.float64)
    weights = sparse.coo_matrix((np.ones(int(inner.sum())), (rows[inner], columns[inner])), shape=(len(degree),) * 2)
    known = filled[there][~inner].reshape(int((~inner).sum()), -1)
    rim = np.stack([np.bincount(rows[~inner], weights=channel, minlength=len(degree)) for channel in known.T], axis=1)
    solution = splu(sparse.csc_matrix(sparse.diags(degree) - weights)).solve(rim)
    filled[inside] = solution.reshape(filled[inside].shape)
    return filled


def _neighbours(inside: Inside) -> tuple[tuple[NDArray[Any], ...], tuple[NDArray[Any], ...]]:
    """Index pairs (pixel of the mask, one of its 4 neighbours inside the image)."""
    rows, columns = np.nonzero(inside)
    steps = [(rows + down, columns + right) for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    height, width = inside.shape
    valid = [(row >= 0) & (row < height) & (column >= 0) & (column < width) for row, column in steps]
    here = tuple(np.concatenate([axis[keep] for keep in valid]) for axis in (rows, columns))
    there = tuple(
        np.concatenate([step[axis][keep] for step, keep in zip(steps, valid, strict=True)]) for axis in (0, 1)
    )
    return here, there


def _smooth(image: NDArray[Any], sigma_px: float) -> NDArray[np.float64]:
    sigma = (sigma_px, sigma_px, 0)[: image.ndim]
    return np.asarray(ndimage.gaussian_filter(image.astype(np.float64), sigma, mode="nearest"))


def _grain(image: Pixels, inside: Inside) -> float:
    """The standard deviation (grey levels) of what a 1.5 pixel blur removes, near the mask and outside it."""
    ring = dilate(inside, RING_PX) & ~inside
    return float((image - _smooth(image, 1.5))[ring].std())
