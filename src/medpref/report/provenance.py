"""What a pair's provenance says: which regions were found, which area was corrupted, and the rest in a few words.

Provenance is free-form JSON: what is not as expected is left aside, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from medpref.report.outline import mask_array
from medpref.schema import Example, Mask, PreferencePair, Region

HASH = re.compile(r"^[0-9a-f]{40,64}$")
SKIP = frozenset(
    {"regions", "mask", "seed", "medpref", "version", "config", "source", "inputs", "evidence", "change", "of"}
)
MOST_FACTS, MOST_LETTERS, MOST_ITEMS = 8, 120, 6
SAME = 0.5


def regions_of(pair: PreferencePair, example: Example | None) -> list[Region]:
    """The regions that were located; one stored without its mask gets it from the example's region of the same box."""
    named = pair.provenance.get("regions")
    found = [_parsed(Region, held) for held in named] if isinstance(named, (list, tuple)) else []
    masked = {(held.box, held.image): held for held in (example.regions if example else ()) if held.mask is not None}
    return [held if held.mask else masked.get((held.box, held.image), held) for held in found if held is not None]


def corrupted_of(pair: PreferencePair, regions: Sequence[Region]) -> list[Region]:
    """The areas that a corruption changed, where they are not one of ``regions`` (boxes that overlap by half)."""
    found = []
    for image, drawn in drawn_of(pair).items():
        mask = _parsed(Mask, drawn.get("mask"))
        box = None if mask is None else _bounds(mask)
        if box is not None and not any(held.image == image and overlap(held.box, box) >= SAME for held in regions):
            found.append(Region(box=box, mask=mask, image=image, label="corrupted area"))
    return found


def drawn_of(pair: PreferencePair) -> dict[int, Mapping[str, Any]]:
    """The drawn parameters of the corruption by image: one mapping, a list, or a mapping by image number."""
    held = pair.provenance.get("corruption")
    if isinstance(held, Mapping) and "kind" not in held:
        numbered = {int(key): value for key, value in held.items() if str(key).isdigit()}
    else:
        numbered = dict(enumerate(held if isinstance(held, (list, tuple)) else [held]))
    return {image: drawn for image, drawn in numbered.items() if isinstance(drawn, Mapping)}


def facts(pair: PreferencePair) -> list[list[str]]:
    """``[name, value]`` of what provenance says in short: scalars, and mappings with their scalars in one line."""
    drawn = [in_words(held) for held in drawn_of(pair).values()]
    found = [["corruption", "; ".join(dict.fromkeys(drawn))]] if any(drawn) else []
    for key, value in pair.provenance.items():
        text = "" if key in SKIP or key == "corruption" else in_words(value)
        if text:
            found.append([key.replace("_", " "), text])
    return [
        [key, text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"] for key, text in found[:MOST_FACTS]
    ]


def in_words(value: Any) -> str:
    """A JSON value in one line; hashes, seeds, masks and long lists say nothing.

    >>> in_words({"kind": "blur", "sigma_px": 4.0, "seed": 7})
    'blur, sigma px 4'
    """
    if isinstance(value, Mapping):
        parts = {
            key: in_words(held) for key, held in value.items() if key not in SKIP and not isinstance(held, Mapping)
        }
        kind = parts.pop("kind", "")
        named = (f"{str(key).replace('_', ' ')} {text}" for key, text in parts.items() if text)
        return ", ".join(filter(None, [kind, *named]))
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(in_words, value))) if len(value) <= MOST_ITEMS else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "" if value is None else str(value)
    return "" if HASH.match(text) else text


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two half-open boxes.

    >>> overlap((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(0, width) * max(0, height)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return inner / (both - inner)


def _bounds(mask: Mask) -> tuple[int, int, int, int] | None:
    inside = mask_array(mask)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _parsed(cls: type[Any], held: Any) -> Any:
    try:
        return cls.model_validate(held)
    except ValidationError:
        return None
