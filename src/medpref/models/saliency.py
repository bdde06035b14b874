"""How a reply's log-probability depends on each image token: maps on the grid of one image's tokens.

Simonyan et al. 2013 (arXiv:1312.6034): the size of the gradient, here of log p(reply | image, question), with respect
to the image's values (summed over the pixels of a token) or to the image features that the language model reads.

Knows: a policy and where its image tokens lie. Does not know: regions, nor whether the reply is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from medpref.models.policy import Policy

Of = Literal["pixels", "features"]
Map = NDArray[np.float64]
Grid = tuple[int, int]
PIXELS, SIZES = "pixel_values", "image_grid_thw"


def saliency(
    policy: Policy, images: Sequence[Image.Image], question: str, reply: str, *, index: int = 0, of: Of = "pixels"
) -> Map | None:
    """[row, column]: the gradient's size at each token of the image ``index``; None where the tokens form no grid."""
    pixels = policy.pixels(images)
    prompt = policy.prompt_ids(question, pixels)
    tokens = prompt.count(policy.family.image_token_id(policy.base))
    laid = grids(policy, pixels, tokens, shapes=[(image.height, image.width) for image in images])
    if laid is None or not reply.strip():
        return None
    slope = _of_pixels(policy, prompt, reply, pixels) if of == "pixels" else _of_features(policy, prompt, reply, pixels)
    return by_token(slope, laid, index)


def by_token(slope: Tensor, laid: Sequence[Grid], index: int = 0) -> Map:
    """[row, column]: mean over the pixels of each token of one image, or sum over the values of its token's patches.

    ``slope`` is [image, channel, height, width], or a row a patch (token), the images' patches one after the other.
    """
    if slope.dim() == 4:
        pooled: Map = adaptive_avg_pool2d(slope[index].sum(dim=0)[None, None], laid[index])[0, 0].numpy()
        return pooled
    per_token = slope.reshape(sum(rows * columns for rows, columns in laid), -1).sum(dim=1)
    before = sum(rows * columns for rows, columns in laid[:index])
    rows, columns = laid[index]
    found: Map = per_token[before : before + rows * columns].reshape(rows, columns).numpy()
    return found


def _of_pixels(policy: Policy, prompt: Sequence[int], reply: str, pixels: Mapping[str, Tensor]) -> Tensor:
    """|d log p / d value|: [image, channel, height, width], or in patches [patch, value]."""
    values = pixels[PIXELS].to(policy.device, policy.base.dtype).detach().requires_grad_()
    (slope,) = torch.autograd.grad(reply_log_prob(policy, prompt, reply, {**pixels, PIXELS: values}), values)
    return slope.abs().double().cpu()


def _of_features(policy: Policy, prompt: Sequence[int], reply: str, pixels: Mapping[str, Tensor]) -> Tensor:
    """|d log p / d feature|: [image token, width]."""
    with torch.no_grad():
        held = policy.family.features(policy.model, pixels)
    features = held.detach().requires_grad_()
    (slope,) = torch.autograd.grad(log_prob_of(policy, prompt, reply, features, pixels), features)
    return slope.abs().double().cpu()


def log_prob_of(
    policy: Policy, prompt: Sequence[int], reply: str, features: Tensor, pixels: Mapping[str, Tensor]
) -> Tensor:
    """Log p of a whole reply (end token included, nats) read over image features [image token, width]."""
    family, model = policy.family, policy.model
    listed = [*prompt, *policy.reply_ids(reply)[0]]
    ids = torch.tensor(listed, device=policy.device)
    places = family.positions(model, listed, pixels).to(policy.device).unsqueeze(1)
    causal = torch.ones(len(listed), len(listed), dtype=torch.bool, device=policy.device).tril()
    hidden = family.hidden(model, family.embed(model, ids, features)[None], causal[None, None], places, ids=ids[None])
    return _said(family.head(model)(hidden[0, len(prompt) - 1 : -1]), ids[len(prompt) :])


def reply_log_prob(policy: Policy, prompt: Sequence[int], reply: str, pixels: Mapping[str, Tensor]) -> Tensor:
    """Log p of a whole reply (end token included, nats); differentiable in ``pixels``."""
    return log_prob_of(policy, prompt, reply, policy.family.features(policy.model, pixels), pixels)


def _said(logits: Tensor, ids: Tensor) -> Tensor:
    return logits.float().log_softmax(dim=-1).gather(1, ids[:, None]).sum()


def grids(
    policy: Policy, pixels: Mapping[str, Tensor], tokens: int, *, shapes: Sequence[tuple[int, int]]
) -> list[Grid] | None:
    """Rows and columns of each image's tokens, for images of these shapes (height, width).

    None where they form no grid over whole images: several tiles, added newlines, a crop of the middle, padding.
    """
    sizes, processor = pixels.get(SIZES), policy.processor.image_processor
    if sizes is not None:
        merge = int(getattr(processor, "merge_size", 1))
        laid = [(int(rows) // merge, int(columns) // merge) for _, rows, columns in sizes]
    else:
        if pixels[PIXELS].dim() != 4 or len(pixels[PIXELS]) != len(shapes) or tokens % len(shapes):
            return None
        shifted = any(getattr(processor, does, False) for does in ("do_center_crop", "do_pad"))
        if shifted and any(height != width for height, width in shapes):
            return None
        edge = math.isqrt(tokens // len(shapes))
        laid = [(edge, edge)] * len(shapes)
    return laid if sum(rows * columns for rows, columns in laid) == tokens else None


def one_grid(policy: Policy, pixels: Mapping[str, Tensor], tokens: int, *, shape: tuple[int, int]) -> Grid | None:
    """The grid of a single image, or None."""
    laid: Any = grids(policy, pixels, tokens, shapes=[shape])
    return laid[0] if laid else None
