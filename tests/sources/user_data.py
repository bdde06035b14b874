"""A folder as a user would have it: small images, a mask, and a file of rows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medpref.imaging.decode import encode_png


def write_image(path: Path, *, seed: int, height: int = 12, width: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    path.write_bytes(encode_png(pixels))
    return path


def row(number: int, split_: str, **fields: Any) -> dict[str, Any]:
    return {
        "image": f"images/p{number}.png",
        "question": "Is there an effusion?",
        "answer": "No",
        "split": split_,
        "patient": f"p{number}",
        **fields,
    }


def write_rows(path: Path, rows: list[Mapping[str, Any] | str]) -> Path:
    """Rows as JSON lines (a text stands as it is); NaN is written as Python writes it."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def folder_of_images(folder: Path, patients: int) -> Path:
    for patient in range(1, patients + 1):
        write_image(folder / "images" / f"p{patient}.png", seed=patient)
    return folder
