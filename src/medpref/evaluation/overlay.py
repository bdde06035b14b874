"""Maps of where a model looked, of a bounded number of its wrong answers, small enough to lie beside the estimates.

The questions are taken in a seeded order that is the same for every model of a run, wrong answers of this model only,
so that models that fail on one question are seen side by side.

Knows: rows, replies, and functions that map. Does not know: models or pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from medpref import store
from medpref.evaluation.attention import Map
from medpref.schema import Example, VerdictRow
from medpref.seeds import generator

MOST = 24
RIGHT = ("closed_accuracy", "open_exact")
LEVELS = 255
FULL_PERCENTILE = 99
FILE = "maps.json"
Draw = Callable[[Example, str], Map | None]


def wrong_cases(examples: Sequence[Example], rows: Sequence[VerdictRow], *, seed: int) -> list[Example]:
    """At most 24 single-image questions that were answered wrong, in a seeded order of all questions."""
    wrong = {row.example for row in rows if row.metric in RIGHT and row.value is not None and row.value < 1}
    held = {example.id: example for example in examples if len(example.images) == 1}
    order = sorted(held)
    generator(seed, "maps").shuffle(order)
    return [held[name] for name in order if name in wrong][:MOST]


def overlays(
    cases: Sequence[Example], replies: Mapping[str, str], draws: Mapping[str, Draw], *, journal: store.Journal
) -> list[dict[str, Any]]:
    """``{"example", "kind", "rows", "columns", "values"}`` of each case and kind of map; journalled case by case.

    ``values`` are whole numbers from 0 (the map's least) to 255 (its 99th percentile), row by row. A case that a kind
    cannot map has none of that kind.
    """
    found: list[dict[str, Any]] = []
    for example in cases:
        found += journal.get(f"maps/{example.id}", lambda case=example: _of(case, replies[case.id], draws))  # type: ignore[misc]
    return found


def _of(example: Example, reply: str, draws: Mapping[str, Draw]) -> list[dict[str, Any]]:
    drawn = ((kind, draw(example, reply)) for kind, draw in draws.items())
    return [{"example": example.id, "kind": kind, **levels(held)} for kind, held in drawn if held is not None]


def levels(drawn: Map) -> dict[str, Any]:
    """A map [row, column] as whole numbers; an even map is 0 throughout."""
    low, high = float(drawn.min()), float(np.percentile(drawn, FULL_PERCENTILE))
    shares = np.clip((drawn - low) / (high - low), 0, 1) if high > low else np.zeros_like(drawn)
    values = np.rint(LEVELS * shares).astype(int).ravel().tolist()
    return {"rows": drawn.shape[0], "columns": drawn.shape[1], "values": values}
