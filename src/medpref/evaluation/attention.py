"""Attention to the lesion, for comparison with the literature: ratio, KL and JS of a map against the boxes.

The protocol of "Medical MLLMs fail" as FiRe-MPO uses it (arXiv:2606.12590): attention of the last prompt token to the
image tokens, mean over heads, divided by the same for a generic question. Attention is not grounding: it can sit on a
lesion that the answer ignores. ``probe.py`` asks the causal question.

Knows: maps and masks over patches (numpy). Does not know: models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medpref.evaluation.interval import interval
from medpref.evaluation.vqa import row_of
from medpref.imaging.regions import Inside, box_array
from medpref.schema import Example, Region, VerdictRow
from medpref.seeds import generator

Map = NDArray[np.float64]
TINY = 1e-12
GENERIC_FLOOR = 1e-8
LAYER = "layer/"


class Focus(NamedTuple):
    """How a map lies on a mask: ``ratio`` above 1 beats chance; ``kl`` and ``js`` in nats, 0 is the mask itself."""

    ratio: float
    kl: float
    js: float


def relative(asked: Map, generic: Map) -> Map:
    """Attention under the question over attention under a generic one: a / max(g, 1e-8)."""
    return asked / np.maximum(generic, GENERIC_FLOOR)


def focus(attention: Map, inside: Inside) -> Focus | None:
    """Ratio, KL and JS of a map [row, column] against a mask of the same shape; None for an empty mask or map.

    Ratio = mean inside / mean everywhere; KL = D(mask || map), JS their Jensen-Shannon divergence, both normalised.
    """
    if not inside.any() or attention.sum() <= 0:
        return None
    ratio = attention[inside].mean() / attention.mean()
    p, q = inside / inside.sum() + TINY, attention / attention.sum() + TINY
    middle = (p + q) / 2
    js = (_divergence(p, middle) + _divergence(q, middle)) / 2
    return Focus(float(ratio), _divergence(p, q), js)


def _divergence(p: Map, q: Map) -> float:
    return float((p * np.log(p / q)).sum())


def touched(regions: Sequence[Region], *, size: tuple[int, int], grid: tuple[int, int]) -> Inside:
    """The patches [row, column] of a grid that any region's box touches, for an image of ``size`` (height, width)."""
    rows, columns = grid
    patches = np.zeros(grid, dtype=bool)
    for region in regions:
        box_array(region.box, *size)
        left, top, right, bottom = region.box
        across = slice(int(left * columns / size[1]), int(np.ceil(min(right, size[1]) * columns / size[1])))
        down = slice(int(top * rows / size[0]), int(np.ceil(min(bottom, size[0]) * rows / size[0])))
        patches[down, across] = True
    return patches


def layer_rows(example: Example, layers: Sequence[Focus]) -> list[VerdictRow]:
    """One row a measure: its mean over the layers, with each layer's value as evidence."""
    found = []
    for name in Focus._fields:
        values = [getattr(layer, name) for layer in layers]
        evidence = {f"{LAYER}{number}": f"{value:.6g}" for number, value in enumerate(values)}
        mean = float(np.mean(values))
        found.append(
            row_of(example, f"attention_{name}", mean, reason=f"mean of {len(values)} layers", evidence=evidence)
        )
    return found


def layer_curve(rows: Sequence[VerdictRow], *, seed: int) -> list[dict[str, Any]]:
    """Per layer the mean of each measure with its interval over patients, recomputed from rows alone."""
    found = []
    names = [f"attention_{name}" for name in Focus._fields]
    held = {name: [row for row in rows if row.metric == name] for name in names}
    for layer in range(max((len(row.evidence) for part in held.values() for row in part), default=0)):
        for name, part in held.items():
            kept = [row for row in part if f"{LAYER}{layer}" in row.evidence]
            values = [[float(row.evidence[f"{LAYER}{layer}"]), 1.0] for row in kept]
            bounds = (0.0, 1.0) if name == "attention_js" else (None, None)
            rng = generator(seed, "attention", name.removeprefix("attention_"), str(layer))
            estimate = interval(values, [row.patient for row in kept], rng=rng, bounds=bounds)
            if estimate is not None:
                found.append({"layer": layer, "metric": name, **estimate._asdict()})
    return found
