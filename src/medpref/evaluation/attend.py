"""Where a policy looks: attention of the prompt's end to the image, and the gradient of a reply's log-probability.

Attention rows and curves follow the FiRe-MPO protocol (see ``attention.py``). Maps are for a reader's eye: attention
relative to a generic question, mean over the layers, each of mean 1; saliency is the absolute gradient of the given
reply's log-probability with respect to the image's values (Simonyan et al. 2013, arXiv:1312.6034), summed over the
pixels of each image token.

Knows: a policy and its image tokens. Does not know: intervals, files, or which questions are asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medpref.evaluation.attention import Map, focus, layer_curve, layer_rows, relative, touched
from medpref.imaging.decode import read_image
from medpref.models.policy import Policy
from medpref.models.saliency import one_grid, saliency
from medpref.progress import track
from medpref.schema import Example, VerdictRow

GENERIC = "Describe the image."


def attention_curve(policy: Policy, examples: Sequence[Example], *, root: Path, seed: int) -> list[dict[str, Any]]:
    """Per layer: mean ratio, KL and JS with intervals, over single-image examples with regions."""
    rows = [row for held in attention_rows(policy, list(track(examples, "attention")), root=root) for row in held]
    return layer_curve(rows, seed=seed)


def attention_rows(policy: Policy, examples: Sequence[Example], *, root: Path) -> list[list[VerdictRow]]:
    """Each example's rows ``attention_ratio``, ``attention_kl`` and ``attention_js``, in the examples' order.

    An example without regions, with several images, or whose image tokens form no grid over the whole image has none.
    """
    with eager(policy):
        return [_rows(policy, example, root) for example in examples]


def _rows(policy: Policy, example: Example, root: Path) -> list[VerdictRow]:
    held = relative_maps(policy, example, root=root) if example.regions else None
    if held is None:
        return []
    image = read_image(example.images[0].locate(root))
    inside = touched(example.regions, size=(image.height, image.width), grid=held.shape[1:])
    found = [one for one in (focus(layer, inside) for layer in held) if one is not None]
    return layer_rows(example, found) if len(found) == len(held) else []


def relative_maps(policy: Policy, example: Example, *, root: Path) -> Map | None:
    """[layer, row, column]: attention under the question over that under a generic one; None where there is no grid."""
    if len(example.images) != 1:
        return None
    pixels = policy.pixels([read_image(example.images[0].locate(root))])
    asked, generic = (attend(policy, question, pixels) for question in (example.question, GENERIC))
    grid = one_grid(policy, pixels, asked.shape[1], shape=_shape(example, root))
    return None if grid is None else relative(asked, generic).reshape(len(asked), *grid)


def attention_map(policy: Policy, example: Example, *, root: Path) -> Map | None:
    """[row, column]: relative attention, each layer divided by its mean, mean over layers; None without a grid."""
    with eager(policy):
        held = relative_maps(policy, example, root=root)
    return None if held is None else (held / held.mean(axis=(1, 2), keepdims=True)).mean(axis=0)


def saliency_map(policy: Policy, example: Example, reply: str, *, root: Path) -> Map | None:
    """[row, column]: sum of |d log p(reply) / d value| over each image token's values; None without a grid."""
    if len(example.images) != 1 or not reply.strip():
        return None
    return saliency(policy, [read_image(example.images[0].locate(root))], example.question, reply)


@torch.no_grad()
def attend(policy: Policy, question: str, pixels: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """[layer, image token]: the last prompt token's attention to the image tokens, mean over heads (read eagerly)."""
    base = policy.base
    listed = policy.prompt_ids(question, pixels)
    ids = torch.tensor([listed], device=base.device)
    placed = {name: value.to(base.device) for name, value in pixels.items()}
    places = policy.family.positions(policy.model, listed, pixels).to(base.device)
    placed["position_ids"] = places if policy.family.axes == 1 else places.unsqueeze(1)
    out = base(input_ids=ids, attention_mask=torch.ones_like(ids), **placed, output_attentions=True, use_cache=False)
    image = (ids[0] == policy.family.image_token_id(base)).cpu()
    rows = [layer[0, :, -1, :].float().mean(dim=0).cpu()[image] for layer in out.attentions]
    return torch.stack(rows).double().numpy()


@contextlib.contextmanager
def eager(policy: Policy) -> Iterator[None]:
    """Attention computed step by step, so that it can be read; the model is put back after."""
    before = policy.base.config._attn_implementation
    policy.base.set_attn_implementation("eager")
    try:
        yield
    finally:
        policy.base.set_attn_implementation(before)


def _shape(example: Example, root: Path) -> tuple[int, int]:
    image = read_image(example.images[0].locate(root))
    return image.height, image.width
