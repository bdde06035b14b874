"""How much of an image a corruption touched, and how strongly: what a pair stores and a card sums up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from medpref.imaging.decode import Pixels, to_array
from medpref.imaging.regions import Inside, mask_to_array
from medpref.schema import Mask


class Change(NamedTuple):
    """``mask_share`` of the image's area; mean absolute change in grey levels inside and outside (None: no pixel)."""

    mask_share: float
    inside: float | None
    outside: float | None


def compare(clean: Pixels, corrupt: Pixels, mask: Inside) -> Change:
    """What changed from ``clean`` to ``corrupt``, inside and outside of ``mask`` (bool, the clean image's shape).

    A corrupt view of another size or colour depth is compared at the clean one's.
    """
    if corrupt.shape != clean.shape:
        mode = "L" if clean.ndim == 2 else "RGB"
        size = (clean.shape[1], clean.shape[0])
        corrupt = to_array(Image.fromarray(corrupt).convert(mode).resize(size, Image.Resampling.BILINEAR))
    change = np.abs(corrupt.astype(np.float64) - clean)
    per_pixel = change if change.ndim == 2 else change.mean(axis=2)
    return Change(float(mask.mean()), _mean(per_pixel, mask), _mean(per_pixel, ~mask))


def compare_drawn(clean: Pixels, corrupt: Pixels, parameters: Mapping[str, Any]) -> Change:
    """`compare` with the mask that the corruption's parameters hold."""
    return compare(clean, corrupt, mask_to_array(Mask.model_validate(parameters["mask"])))


def _mean(values: np.ndarray, where: Inside) -> float | None:
    return float(values[where].mean()) if where.any() else None
