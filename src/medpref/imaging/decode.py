"""Image files in, 8-bit pixels out: PNG, JPEG and what else Pillow reads, and DICOM.

Every image becomes 8-bit grey (``L``) or colour (``RGB``) as a viewer would show it: EXIF orientation applied,
transparency laid over black, 16-bit pixels windowed, MONOCHROME1 films inverted so that air is dark.

Knows: pixel formats. Does not know: what an image shows, or where an example keeps it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medpref.errors import DataError

Pixels = NDArray[np.uint8]
EXIF_ORIENTATION = 0x0112
DICOM_MAGIC = b"DICM"
WINDOW_PERCENTILES = (0.5, 99.5)
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
BROKEN = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)


def read_image(path: Path) -> Image.Image:
    """The image of a file, mode ``L`` or ``RGB``; DataError where it is missing or cannot be read.

    DICOM is recognised by content, not by name; it needs the extra ``dicom`` (pydicom, and pylibjpeg for JPEG 2000).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(str(path), given="no such file", expected="an image", todo="check the path")
    if is_dicom(path):
        return Image.fromarray(_dicom_pixels(path))
    try:
        with Image.open(path) as image:
            image.load()
            return _eight_bit(ImageOps.exif_transpose(image))
    except BROKEN as error:
        given = f"unreadable image ({type(error).__name__}: {error})"
        todo = "export it again, or remove the rows that name it"
        raise DataError(str(path), given=given, expected="PNG, JPEG or DICOM", todo=todo) from None


def read_array(path: Path) -> Pixels:
    """The pixels of a file, uint8 of shape (height, width) or (height, width, 3)."""
    return to_array(read_image(path))


def to_array(image: Image.Image) -> Pixels:
    """The pixels of an ``L`` or ``RGB`` image, uint8 of shape (height, width) or (height, width, 3)."""
    return np.array(image, dtype=np.uint8)


def encode_png(array: Pixels) -> bytes:
    """The bytes of a PNG file with these pixels (uint8, (height, width) or (height, width, 3)); lossless."""
    if array.dtype != np.uint8:
        raise TypeError(f"pixels are {array.dtype}, not uint8; clip and convert them first")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, format="PNG")
    return buffer.getvalue()


def is_dicom(path: Path) -> bool:
    """Whether a file carries the DICOM mark (``DICM`` after 128 bytes)."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == DICOM_MAGIC


def is_plain(path: Path) -> bool:
    """Whether an image file already holds what `read_image` gives: 8-bit grey or colour, upright, any reader's."""
    if is_dicom(path):
        return False
    try:
        with Image.open(path) as image:
            return image.mode in ("L", "RGB") and image.getexif().get(EXIF_ORIENTATION, 1) == 1
    except BROKEN:
        return False


def window(values: NDArray[Any], *, low: float | None = None, high: float | None = None) -> Pixels:
    """Values scaled linearly so that ``low`` is 0 and ``high`` is 255, rounded, and clipped.

    Without bounds they are the 0.5th and 99.5th percentile; an image of one value becomes 0.
    """
    numbers = np.asarray(values, dtype=np.float64)
    found = np.percentile(numbers, WINDOW_PERCENTILES)
    low, high = float(found[0] if low is None else low), float(found[1] if high is None else high)
    if high <= low:
        low, high = float(numbers.min()), float(numbers.max())
    if high <= low:
        return np.zeros(numbers.shape, dtype=np.uint8)
    return np.asarray(np.clip(np.rint((numbers - low) / (high - low) * 255.0), 0, 255), dtype=np.uint8)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Mode ``L`` or ``RGB``. Pillow's own conversion would clip 16 bits at 255, that is, to white."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode in DEEP_MODES:
        return Image.fromarray(window(np.array(image)))
    if image.mode == "1":
        return image.convert("L")
    if image.has_transparency_data:
        flat = Image.new("RGBA", image.size, (0, 0, 0, 255))
        flat.alpha_composite(image.convert("RGBA"))
        return flat.convert("L" if image.mode in ("LA", "La") else "RGB")
    return image.convert("RGB")


def read_header(path: Path) -> Any:
    """The DICOM data set of a file without its pixels; DataError where it is none or pydicom is missing."""
    return _read_dataset(path, pixels=False)


def _read_dataset(path: Path, *, pixels: bool) -> Any:
    try:
        import pydicom
    except ImportError:
        todo = "pip install 'medpref[dicom]'"
        raise DataError(str(path), given="a DICOM file", expected="pydicom to read it", todo=todo) from None
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (pydicom.errors.InvalidDicomError, *BROKEN) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: BaseException) -> DataError:
    given = f"unreadable DICOM ({type(error).__name__}: {error})"
    todo = "for compressed pixels: pip install 'medpref[dicom]'; else export it again"
    return DataError(str(path), given=given, expected="one frame of pixels", todo=todo)


def _dicom_pixels(path: Path) -> Pixels:
    """Display values: modality rescale, then the header's window (or percentiles), then MONOCHROME1 inverted."""
    dataset = _read_dataset(path, pixels=True)
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        given = f"{dataset.NumberOfFrames} frames"
        raise DataError(str(path), given=given, expected="one frame", todo="export one frame, or one file a frame")
    try:
        values = np.asarray(dataset.pixel_array)  # pydicom has already turned YBR into RGB
    except (AttributeError, KeyError, RuntimeError, *BROKEN) as error:
        raise _unreadable(path, error) from None
    if values.ndim == 3:
        return values.astype(np.uint8) if values.dtype == np.uint8 else window(values)
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colour = np.asarray(apply_color_lut(values, dataset))
        return (colour >> 8).astype(np.uint8) if colour.dtype == np.uint16 else colour.astype(np.uint8)
    grey = _grey(np.asarray(apply_modality_lut(values, dataset), dtype=np.float64), dataset)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def _grey(values: NDArray[Any], dataset: Any) -> Pixels:
    """Windowed by the header where it says how (DICOM PS3.3 C.11.2), else between two percentiles.

    A window that shows one grey level only is not believed.
    """
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if "VOILUTSequence" in dataset or ("WindowCenter" in dataset and function not in ("LINEAR", "LINEAR_EXACT")):
        from pydicom.pixels.processing import apply_voi_lut

        mapped = np.asarray(apply_voi_lut(values.astype(np.int64), dataset), dtype=np.float64)
        return window(mapped if mapped.max() > mapped.min() else values)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        centre, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
        exact = function == "LINEAR_EXACT"
        middle, half = (centre, width / 2) if exact else (centre - 0.5, (width - 1) / 2)
        shown = window(values, low=middle - half, high=middle + half)
        if half > 0 and shown.max() > shown.min():
            return shown
    return window(values)


def _first(value: Any) -> float:
    """A header number, the first of several windows."""
    return float(value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value)
