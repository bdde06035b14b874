"""A map of where a model looked as a small see-through picture, to lie over the image it was drawn for."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from medpref.report.values import LookMap

COLOURS = ((0, (60, 0, 110)), (110, (205, 20, 60)), (180, (255, 130, 0)), (255, (255, 245, 150)))
OPAQUE = 190


def heat_uri(held: LookMap) -> str:
    """The map as a ``data:`` URI of a PNG, one pixel a cell: nothing where it is 0, violet over red to light yellow."""
    values = np.asarray(held.values, dtype=np.float64).reshape(held.rows, held.columns)
    stops = [stop for stop, _ in COLOURS]
    channels = [np.interp(values, stops, [colour[channel] for _, colour in COLOURS]) for channel in range(3)]
    table = np.stack([*channels, values / 255 * OPAQUE], axis=-1)
    file = io.BytesIO()
    Image.fromarray(np.rint(table).astype(np.uint8), "RGBA").save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
