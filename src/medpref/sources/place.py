"""Where an example's image lies: the user's file if any reader shows it right, else a PNG blob made of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from medpref import store
from medpref.imaging.decode import encode_png, is_plain, read_image, to_array
from medpref.schema import ImageRef


class Placed(NamedTuple):
    """A reference to an image, and the image's size in pixels."""

    ref: ImageRef
    height: int
    width: int


def place(path: Path, out: Path, *, prefix: str) -> Placed:
    """A reference to an 8-bit grey or colour image, upright, that Pillow alone can open.

    A plain PNG or JPEG stays where it is (absolute path). DICOM, 16-bit, palette, transparent or rotated files are
    decoded once into ``out/blobs`` and named relative to the run folder, below ``prefix``. DataError where a file is
    missing or unreadable.
    """
    image = read_image(path)
    if is_plain(path):
        ref = ImageRef(path=str(path.resolve()), sha256=store.file_digest(path))
    else:
        data = encode_png(to_array(image))
        ref = ImageRef(path=f"{prefix}/{store.put_blob(out, data, '.png')}", sha256=store.digest(data))
    return Placed(ref, image.height, image.width)
