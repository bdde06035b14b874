"""Ten ways in which an image gets worse, each in five severities: what a robustness curve walks along.

Lengths are given for an image of 224 pixels and scale with the shorter side, so that a severity looks alike at every
size. Severity 0 is the image itself.

Knows: pixels (uint8, (height, width) or (height, width, 3)). Does not know: questions or models.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from medpref.errors import DataError, nearest

Pixels = NDArray[np.uint8]
Degradation = Callable[[Pixels, int, np.random.Generator], Pixels]
SEVERITIES = (1, 2, 3, 4, 5)
STANDARD_SIDE_PX = 224
SIGMA_GREY = (8, 16, 24, 36, 50)
BLUR_SIGMA_PX = (1.5, 2.3, 3.4, 5.0, 7.0)
CONTRAST = (0.8, 0.6, 0.45, 0.3, 0.2)
BRIGHTER_GREY = (15, 30, 45, 60, 80)
GAMMA = (1.2, 1.5, 1.8, 2.3, 3.0)
MOTION_PX = (4, 7, 11, 16, 24)
BLOCK_PX = (3, 5, 7, 10, 14)
JPEG_QUALITY = (60, 40, 25, 15, 8)
RESOLUTION = (0.7, 0.5, 0.35, 0.25, 0.15)
ROTATION_DEGREES = (2, 5, 9, 14, 20)


def degrade(image: Pixels, name: str, severity: int, *, rng: np.random.Generator) -> Pixels:
    """The image degraded in one way, of the same shape; ``severity`` 0 to 5. DataError for an unknown name."""
    if name not in DEGRADATIONS:
        todo = nearest(name, DEGRADATIONS)
        raise DataError("robustness", given=f"degradation {name!r}", expected="a known one", todo=todo)
    if severity not in (0, *SEVERITIES):
        raise DataError("robustness", given=f"severity {severity}", expected="0 to 5", todo="choose one of them")
    return image.copy() if severity == 0 else DEGRADATIONS[name](image, severity - 1, rng)


def _pixels(values: NDArray[np.float64]) -> Pixels:
    shown: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return shown


def _scale(image: Pixels) -> float:
    return min(image.shape[:2]) / STANDARD_SIDE_PX


def _spatial(image: Pixels, *each: float) -> tuple[float, ...]:
    return (*each, 0.0)[: image.ndim]


def noise(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """Gaussian noise in grey levels, independent per pixel."""
    return _pixels(image + rng.normal(0.0, SIGMA_GREY[step], size=image.shape))


def blur(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """Gaussian blur."""
    sigma = BLUR_SIGMA_PX[step] * _scale(image)
    return _pixels(ndimage.gaussian_filter(image.astype(np.float64), _spatial(image, sigma, sigma), mode="nearest"))


def contrast(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """Grey levels drawn towards their mean."""
    mean = image.mean()
    return _pixels(mean + CONTRAST[step] * (image - mean))


def brightness(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """Every grey level raised."""
    return _pixels(image.astype(np.float64) + BRIGHTER_GREY[step])


def gamma(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """Grey levels in [0, 1] raised to a power above 1: darker."""
    return _pixels(255.0 * (image / 255.0) ** GAMMA[step])


def motion(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """The mean along a horizontal path, as when the patient moves."""
    half = max(0.75, MOTION_PX[step] * _scale(image) / 2)
    reach = int(np.ceil(half + 0.5))
    weights = np.clip(half + 0.5 - np.abs(np.arange(-reach, reach + 1)), 0.0, 1.0)
    return _pixels(ndimage.convolve1d(image.astype(np.float64), weights / weights.sum(), axis=1, mode="nearest"))


def pixelation(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """Square blocks of one grey level each."""
    block = max(1.2, BLOCK_PX[step] * _scale(image))
    height, width = image.shape[:2]
    size = (max(1, round(width / block)), max(1, round(height / block)))
    small = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST), dtype=np.uint8)


def jpeg(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """JPEG compression and back."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=JPEG_QUALITY[step])
    with Image.open(buffer) as read:
        return np.asarray(read, dtype=np.uint8)


def resolution(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """Reduced, and enlarged again."""
    height, width = image.shape[:2]
    size = (max(1, round(width * RESOLUTION[step])), max(1, round(height * RESOLUTION[step])))
    small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), dtype=np.uint8)


def rotation(image: Pixels, step: int, rng: np.random.Generator) -> Pixels:
    """Turned about the centre, to a random side; corners continue the edge."""
    degrees = ROTATION_DEGREES[step] * (1 if rng.integers(2) else -1)
    turned = ndimage.rotate(image.astype(np.float64), degrees, axes=(1, 0), reshape=False, order=1, mode="nearest")
    return _pixels(turned)


DEGRADATIONS: dict[str, Degradation] = {
    one.__name__: one
    for one in (noise, blur, contrast, brightness, gamma, motion, pixelation, jpeg, resolution, rotation)
}
