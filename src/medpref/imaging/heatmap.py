"""Regions from saliency or grounding maps in files: the pixels above a quantile, with the covered share recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from scipy import ndimage

from medpref.errors import DataError
from medpref.imaging.decode import BROKEN, Pixels
from medpref.imaging.legacy import warn_legacy
from medpref.imaging.localize import Fallback, bounded, whole
from medpref.imaging.regions import Inside, region_of
from medpref.registry import LOCALIZERS
from medpref.schema import Example, Frozen, Region

LEGACY_BLUR_PX, LEGACY_BLUR_SIGMA = 15, 0.3 * ((15 - 1) * 0.5 - 1) + 0.8
SUFFIXES = (".npy", ".png")


@LOCALIZERS.add
class HeatmapRegions(Frozen):
    """The hot part of a map: pixels strictly above the ``quantile`` of the map, enlarged to the image's size.

    The map is ``folder/NAME.npy`` (float, height x width) or ``.png`` (grey), where NAME is the example's id (``/``
    written ``_``), the image file's stem, or the image's sha256, tried in this order. Its mean inside becomes the
    region's confidence where the map lies in [0, 1]; the covered share stands in its origin. A flat map gives nothing.

    ``threshold: mean_minus_std_mask`` is MMedPO's released rule (15 x 15 blur, above mean - 1 std), which covers half
    of the image or more; it exists for numbers of that release only.
    """

    kind: Literal["heatmap_regions"] = "heatmap_regions"
    folder: str = Field(min_length=1)
    quantile: float = Field(default=0.9, gt=0, lt=1)
    threshold: Literal["quantile", "mean_minus_std_mask"] = "quantile"
    dilate_px: float = Field(default=0.0, ge=0)
    min_share: float = Field(default=0.0, ge=0, le=1)
    max_share: float = Field(default=1.0, gt=0, le=1)
    fallback: Fallback = "none"

    def model_post_init(self, _: Any) -> None:
        if self.threshold == "mean_minus_std_mask":
            warn_legacy("mean_minus_std_mask", does="covers half of an image or more", instead="threshold: quantile")

    def locate(self, example: Example, image: Pixels, *, index: int = 0) -> tuple[Region, ...]:
        path = find_map(Path(self.folder), example, index=index)
        heat = read_map(path)
        scaled = enlarge(heat, image)
        rule = f"quantile {self.quantile:g}" if self.threshold == "quantile" else self.threshold
        inside = hot(scaled, self.quantile) if self.threshold == "quantile" else above_mean_minus_std(scaled)
        found: tuple[Region, ...] = ()
        if inside.any():
            confidence = min(float(scaled[inside].mean()), 1.0) if heat.min() >= 0 and heat.max() <= 1 else None
            origin = f"heatmap_regions {path.name}: {rule}, covers {inside.mean():.4f}"
            region = region_of(inside, label="heat", origin=origin, confidence=confidence, image=index)
            limits = {"dilate_px": self.dilate_px, "min_share": self.min_share, "max_share": self.max_share}
            found = bounded((region,), image, **limits)
        if found or self.fallback == "none":
            return found
        return whole(image, index=index, origin="heatmap_regions: none, whole_image instead")


def find_map(folder: Path, example: Example, *, index: int) -> Path:
    """The map's file for one image of an example; DataError where there is none."""
    reference = example.images[index]
    names = (example.id.replace("/", "_"), Path(reference.path).stem, reference.sha256)
    for name in dict.fromkeys(names):
        for suffix in SUFFIXES:
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    given = f"no map for example {example.id!r}"
    expected = f"{names[0]}.npy or .png, or one named for its image ({names[1]})"
    raise DataError(str(folder), given=given, expected=expected, todo="write the map, or choose given_regions")


def read_map(path: Path) -> NDArray[np.float64]:
    """The map as floats of shape (height, width); a PNG's grey levels are divided by their largest possible value."""
    try:
        if path.suffix == ".npy":
            heat = np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
        else:
            with Image.open(path) as image:
                deep = image.mode.startswith("I")
                heat = np.asarray(image if deep else image.convert("L"), dtype=np.float64) / (65535 if deep else 255)
    except BROKEN as error:
        todo = "write the map again"
        raise DataError(str(path), given=f"unreadable map ({error})", expected="NPY or PNG", todo=todo) from None
    if heat.ndim != 2 or not heat.size or not np.isfinite(heat).all():
        given = f"shape {heat.shape}" if heat.ndim != 2 or not heat.size else "values that are not finite"
        raise DataError(str(path), given=given, expected="one finite number a pixel", todo="write the map again")
    return heat


def hot(heat: NDArray[np.float64], quantile: float) -> Inside:
    """The pixels strictly above the map's quantile: at most ``1 - quantile`` of them, rounded up; none if flat."""
    return np.asarray(heat > np.quantile(heat, quantile))


def above_mean_minus_std(heat: NDArray[np.float64]) -> Inside:
    """MMedPO's released mask: a 15 x 15 Gaussian blur, then strictly above mean - 1 standard deviation."""
    truncate = (LEGACY_BLUR_PX // 2) / LEGACY_BLUR_SIGMA
    soft = np.asarray(ndimage.gaussian_filter(heat, LEGACY_BLUR_SIGMA, mode="mirror", truncate=truncate))
    return np.asarray(soft > soft.mean() - soft.std())


def enlarge(heat: NDArray[np.float64], image: Pixels) -> NDArray[np.float64]:
    """The map at the image's size, between its points bilinearly."""
    size = (image.shape[1], image.shape[0])
    soft = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)  # float32: one part in 1e7
    return np.asarray(soft, dtype=np.float64)
