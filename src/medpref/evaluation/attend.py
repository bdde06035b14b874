"""Attention curves of a policy: ratio, KL and JS against the boxes, layer by layer; see ``attention.py``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medpref.evaluation.attention import Focus, focus, relative, touched
from medpref.evaluation.interval import interval
from medpref.evaluation.metrics import UNIT
from medpref.imaging.decode import read_image
from medpref.models.policy import Policy
from medpref.progress import track
from medpref.schema import Example
from medpref.seeds import generator

GENERIC = "Describe the image."


def attention_curve(policy: Policy, examples: Sequence[Example], *, root: Path, seed: int) -> list[dict[str, Any]]:
    """Per layer: mean ratio, KL and JS with intervals, over single-image examples with regions.

    Examples whose image tokens form no grid are skipped. Attention is computed eagerly; the model is put back after.
    """
    held: list[tuple[str, list[Focus]]] = []
    base = policy.base
    before = base.config._attn_implementation
    base.set_attn_implementation("eager")
    try:
        for example in track([one for one in examples if one.regions and len(one.images) == 1], "attention"):
            layers = _layers(policy, example, root)
            if layers is not None:
                held.append((example.patient, layers))
    finally:
        base.set_attn_implementation(before)
    return _summary(held, seed=seed)


def _summary(held: Sequence[tuple[str, list[Focus]]], *, seed: int) -> list[dict[str, Any]]:
    found = []
    patients = [patient for patient, _ in held]
    for layer in range(len(held[0][1]) if held else 0):
        for name in Focus._fields:
            values = [[getattr(layers[layer], name), 1.0] for _, layers in held]
            bounds = UNIT if name == "js" else (None, None)
            rng = generator(seed, "attention", name, str(layer))
            estimate = interval(values, patients, rng=rng, bounds=bounds)
            if estimate is not None:
                found.append({"layer": layer, "metric": f"attention_{name}", **estimate._asdict()})
    return found


def _layers(policy: Policy, example: Example, root: Path) -> list[Focus] | None:
    image = read_image(example.images[0].locate(root))
    pixels = policy.pixels([image])
    asked, generic = (attend(policy, question, pixels) for question in (example.question, GENERIC))
    grid = grid_of(policy, pixels, asked.shape[1])
    if grid is None:
        return None
    inside = touched(example.regions, size=(image.height, image.width), grid=grid)
    maps = relative(asked, generic).reshape(len(asked), *grid)
    found = [focus(one, inside) for one in maps]
    return [one for one in found if one is not None] if all(found) else None


@torch.no_grad()
def attend(policy: Policy, question: str, pixels: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """[layer, image token]: the last prompt token's attention to the image tokens, mean over heads."""
    base = policy.base
    ids = torch.tensor([policy.prompt_ids(question, pixels)], device=base.device)
    placed = {name: value.to(base.device) for name, value in pixels.items()}
    out = base(input_ids=ids, attention_mask=torch.ones_like(ids), **placed, output_attentions=True, use_cache=False)
    image = (ids[0] == policy.family.image_token_id(base)).cpu()
    rows = [layer[0, :, -1, :].float().mean(dim=0).cpu()[image] for layer in out.attentions]
    return torch.stack(rows).double().numpy()


def grid_of(policy: Policy, pixels: Mapping[str, Tensor], tokens: int) -> tuple[int, int] | None:
    """Rows and columns of one image's tokens; None where they form no grid (tiles, added newlines)."""
    sizes = pixels.get("image_grid_thw")
    if sizes is not None:
        merge = int(getattr(policy.processor.image_processor, "merge_size", 1))
        rows, columns = int(sizes[0, 1]) // merge, int(sizes[0, 2]) // merge
    else:
        rows = columns = math.isqrt(tokens)
    return (rows, columns) if rows * columns == tokens else None
