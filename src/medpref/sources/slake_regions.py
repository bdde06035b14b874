"""SLAKE's regions: an image's labelled mask and boxes as regions, and those that a question names.

``detection.json`` is a list such as ``[{"Liver": [64.0, 80.0, 101.0, 77.0]}]`` (left, top, width, height);
``mask.png`` holds label values that ``mask.txt`` (lines ``3:Liver``) names. A label in the mask gives a region of its
pixels, any other box a region without a mask. A mask of another size than its image, or with a value that
``mask.txt`` does not name (some were smoothed when saved, which makes false labels along edges), is not believed:
then boxes are all there is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from medpref import store
from medpref.errors import DataError
from medpref.imaging.decode import BROKEN
from medpref.imaging.regions import region_of
from medpref.schema import Region
from medpref.sources.slake_words import names, words

Size = tuple[int, int]
ORIGIN = "SLAKE"


class Found(NamedTuple):
    """An image's regions, and whether they come from a mask that could be believed."""

    regions: tuple[Region, ...]
    masked: bool


def read_names(path: Path) -> dict[int, str]:
    """The labels of ``mask.txt`` by value, none where there is no such file; DataError names a bad line."""
    if not path.exists():
        return {}
    labels = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        value, colon, name = line.partition(":")
        if line.strip():
            if not (colon and value.strip().isdigit() and name.strip()):
                where = f"{path}:{number}"
                raise DataError(where, given=repr(line), expected="VALUE:NAME", todo="restore the file")
            labels[int(value)] = name.strip()
    return labels


def read_regions(folder: Path, labels: Mapping[int, str], *, size: Size) -> Found:
    """The regions of one image's folder; ``size`` is (height, width) of its image."""
    values = _mask_values(folder / "mask.png") if labels else None
    believed = values is not None and values.shape == size and set(np.unique(values).tolist()) <= {0, *labels}
    masks: list[Region] = []
    if believed and values is not None:
        for value in np.unique(values[values > 0]).tolist():
            masks.append(region_of(values == value, label=labels[value], origin=ORIGIN))
    drawn = {words(region.label) for region in masks}
    boxes = [region for region in _boxes(folder / "detection.json", size) if words(region.label) not in drawn]
    return Found((*masks, *boxes), believed)


def named_regions(question: str, answer: str, *, regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """The regions that the question names; if it names none of the image's, those that the answer names.

    Of two labels, one within the other (Liver, Liver Cancer), the question is about the longer one.
    """
    for text in (question, answer):
        asked = words(text)
        named = [region for region in regions if names(asked, region.label)]
        said = [words(region.label) for region in named]
        if named:
            return tuple(region for region in named if not any(words(region.label) < other for other in said))
    return ()


def _mask_values(path: Path) -> Any:
    """The label values of a mask file, (height, width): palette indices, grey values, or equal colour channels."""
    if not path.exists():
        return None
    try:
        with Image.open(path) as image:
            image.load()
            values = np.array(image)
    except BROKEN as error:
        given, todo = f"unreadable mask ({type(error).__name__})", "download it again, or remove the file"
        raise DataError(str(path), given=given, expected="a PNG", todo=todo) from None
    if values.ndim == 3:
        same = (values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all()
        return values[..., 0] if same else None
    return values


def _boxes(path: Path, size: Size) -> list[Region]:
    """The boxes of ``detection.json``, rounded outwards and cut at the image's edges; none where there is no file."""
    if not path.exists():
        return []
    content = store.read_json(path)
    entries = [pair for entry in content for pair in entry.items()] if isinstance(content, list) else None
    if entries is None:
        raise DataError(str(path), given="no list", expected="a list of {label: box}", todo="restore the file")
    regions = []
    for label, numbers in entries:
        if not (isinstance(numbers, list) and len(numbers) == 4 and all(isinstance(n, int | float) for n in numbers)):
            given, expected = f"{label!r}: {numbers!r}"[:80], "[left, top, width, height]"
            raise DataError(str(path), given=given, expected=expected, todo="restore the file")
        left, top, width, height = numbers
        box = (max(0, math.floor(left)), max(0, math.floor(top)), min(size[1], math.ceil(left + width)))
        bottom = min(size[0], math.ceil(top + height))
        if box[0] < box[2] and box[1] < bottom:
            regions.append(Region(box=(*box, bottom), label=label.strip(), origin=ORIGIN))
    return regions
