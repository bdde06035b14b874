"""Small pictures for a page that must stay small: each image once, a corrupt view as a patch on its clean one.

A view that differs from the clean image only inside a box is stored as that box alone, found by comparing pixels.
When the budget of bytes is spent, further pictures are left out.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from medpref.errors import MedprefError
from medpref.schema import ImageRef

OpenImage = Callable[[Path], Image.Image]
Box = tuple[int, int, int, int]
UNREADABLE = (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError, MedprefError)
FORMAT, MIME = ("WEBP", "image/webp") if features.check("webp") else ("JPEG", "image/jpeg")
PATCH_SHARE = 0.6
QUALITY = 62
SMALLEST = 400


def open_picture(path: Path) -> Image.Image:
    """The picture of a PNG, JPEG or other common file, 8 bits a channel; 16-bit grey is stretched to its own range."""
    with Image.open(path) as picture:
        if picture.mode.startswith(("I", "F")):
            values = np.asarray(picture, dtype=np.float64)
            low, high = float(values.min()), float(values.max())
            return Image.fromarray(((values - low) / max(high - low, 1e-9) * 255).astype(np.uint8))
        return picture.convert("L" if picture.mode in ("L", "1", "LA") else "RGB")


class Thumbnails:
    """The pictures of one page, by key: ``{"u": data URI, "w": width, "h": height}`` in pixels of the stored image."""

    def __init__(self, root: Path, *, budget: int, side: int, open_image: OpenImage) -> None:
        self.pictures: dict[str, dict[str, Any]] = {}
        self._root, self._side, self._left = root, side, budget
        self._open = functools.lru_cache(maxsize=32)(open_image)
        self._keys: dict[str, str | None] = {}
        self._patches: dict[tuple[str, str], tuple[str, Box] | None] = {}

    def extend(self, budget: int) -> None:
        """Allow so many more bytes; what was left out before may be asked for again."""
        self._left += budget
        self._keys = {sha: key for sha, key in self._keys.items() if key is not None}

    def add(self, ref: ImageRef) -> str | None:
        """The key of an image's picture; None where it cannot be read or the budget is spent."""
        if ref.sha256 not in self._keys:
            picture = self._read(ref) if self._left > SMALLEST else None
            self._keys[ref.sha256] = None if picture is None else self._put(picture, picture.size)
        return self._keys[ref.sha256]

    def view(self, clean: ImageRef | None, ref: ImageRef) -> list[Any]:
        """``[key]`` of a view, or ``[key of the clean one, key of the patch, x, y, width, height]``; [] for none."""
        base = self.add(clean) if clean is not None and clean.sha256 != ref.sha256 else None
        if clean is None or base is None:
            key = self.add(ref)
            return [] if key is None else [key]
        pair = (clean.sha256, ref.sha256)
        if pair not in self._patches:
            self._patches[pair] = self._patch(clean, ref) if self._left > SMALLEST else None
        patch = self._patches[pair]
        if patch is not None:
            return [base, patch[0], *patch[1]]
        key = self.add(ref)
        return [] if key is None else [key]

    def overlay(self, uri: str, size: tuple[int, int]) -> str | None:
        """The key of a picture that was made for the page, of ``size`` (width, height); None where it does not fit."""
        if len(uri) > self._left:
            return None
        self._left -= len(uri)
        key = f"i{len(self.pictures)}"
        self.pictures[key] = {"u": uri, "w": size[0], "h": size[1]}
        return key

    def _patch(self, clean: ImageRef, ref: ImageRef) -> tuple[str, Box] | None:
        before, after = self._read(clean), self._read(ref)
        if before is None or after is None:
            return None
        box = changed_box(before, after)
        if box is None:
            return None
        left, top, right, bottom = box
        if (right - left) * (bottom - top) > PATCH_SHARE * before.width * before.height:
            return None
        piece = after.crop(box)
        scale = min(1.0, self._side / max(before.size))
        key = self._put(piece, before.size, scale=scale)
        return None if key is None else (key, (left, top, right - left, bottom - top))

    def _put(self, picture: Image.Image, full: tuple[int, int], *, scale: float | None = None) -> str | None:
        factor = min(1.0, self._side / max(full)) if scale is None else scale
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        small = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
        return self.overlay(data_uri(small), picture.size)

    def _read(self, ref: ImageRef) -> Image.Image | None:
        try:
            return self._open(ref.locate(self._root))
        except UNREADABLE:
            return None


def changed_box(before: Image.Image, after: Image.Image) -> Box | None:
    """The smallest half-open box outside which two pictures are equal; None where they are equal or of unequal size."""
    if before.size != after.size:
        return None
    if before.mode != after.mode:
        before, after = before.convert("RGB"), after.convert("RGB")
    changed = np.asarray(before) != np.asarray(after)
    inside = changed if changed.ndim == 2 else changed.any(axis=2)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def data_uri(picture: Image.Image) -> str:
    """A picture as a ``data:`` URI, WebP where Pillow has it, else JPEG."""
    held = io.BytesIO()
    picture.save(held, FORMAT, quality=QUALITY, method=3)
    return f"data:{MIME};base64,{base64.b64encode(held.getvalue()).decode()}"
