"""The bytes that autograd keeps for the backward pass of one token, found on the model's outline; no weight is read.

The language model runs on the meta device over a few tokens, with an attention that keeps what our kernels keep, while
hooks add up what is saved. Several times, with different lengths and rows read: the differences are what a token and a
row cost, whatever the family.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from medpref.engine.last import Read, narrow_last
from medpref.engine.tiles import CHUNK_BYTES
from medpref.models.decoder import run
from medpref.models.outline import outline_of
from medpref.models.policy import Policy
from medpref.training.cost import Load, Sizes, parameter_bytes

NAME = "medpref-outline"


@dataclass(frozen=True)
class Memory:
    """Bytes of one optimiser step at its peak.

    ``parameters``: weights, gradients and AdamW's moments; ``activations``: what is kept for the backward pass;
    ``passing``: what the head or one layer holds while it runs; ``features``: the step's image features.
    """

    parameters: int
    activations: int
    passing: int
    features: int

    @property
    def total(self) -> int:
        return self.parameters + self.activations + self.passing + self.features


@dataclass(frozen=True)
class Kept:
    """Bytes that autograd keeps of a ``token``, and what it keeps more of a ``row``: a token that the head reads."""

    token: int
    row: int


def bytes_kept(policy: Policy) -> Kept:
    """What autograd keeps through all layers of the language model, without checkpointing."""
    outline = outline_of(policy)
    language = outline.base.config.get_text_config()
    before, language._attn_implementation = language._attn_implementation, NAME
    outline.base.activation_checkpointing_disable()
    outline.model.train()
    short, long, read = (_saved(outline, length, rows) for length, rows in ((8, 4), (24, 4), (24, 12)))
    language._attn_implementation = before
    return Kept(token=round((long - short) / 16), row=round((read - long) / 8))


def predict_memory(sizes: Sizes, load: Load, each: Kept, *, checkpointing: bool, device: str = "cpu") -> Memory:
    """The peak of an optimiser step whose largest micro-step is ``load``: in the head, or in a layer's backward.

    With per-layer checkpointing a layer's input is kept for all layers and everything else for one at a time, in its
    backward. There gradients pass through as well: about two rows of the MLP and four of the model's width a token.
    """
    forward = backward = load.nodes * each.token + load.rows * each.row
    if checkpointing:
        forward = load.nodes * sizes.layers * sizes.width * sizes.item
        backward = forward + load.nodes * (each.token + each.row) // sizes.layers
    layer = load.nodes * (2 * sizes.inner + 4 * sizes.width) * sizes.item
    head = _head_bytes(sizes, load, device)
    kept, passing = max((forward, head), (backward, layer), key=sum)
    return Memory(
        parameters=parameter_bytes(sizes),
        activations=kept,
        passing=passing,
        features=load.nodes * sizes.width * sizes.item,
    )


def _head_bytes(sizes: Sizes, load: Load, device: str) -> int:
    """One tile of rows x vocabulary in the accumulator's dtype; by row, hidden states twice and the sums kept."""
    wide = 8 if sizes.item == 8 else 4
    live = load.rows + 2 * load.diverging
    kept = (3 * load.rows + 3 * load.diverging) * sizes.width
    return wide * kept + min(CHUNK_BYTES[device], wide * live * sizes.vocabulary)


def _saved(outline: Policy, length: int, read: int) -> int:
    family, base = outline.family, outline.base
    rows = base.get_input_embeddings()(torch.zeros(1, length, dtype=torch.long, device="meta"))
    mask = torch.ones(1, 1, length, length, dtype=torch.bool, device="meta").tril()
    axes = torch.zeros(family.axes, 1, length, dtype=torch.long, device="meta")
    known = {value.untyped_storage()._cdata for value in (*base.parameters(), *base.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        key = value.untyped_storage()._cdata
        if key not in known:
            kept.setdefault(key, value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        places = axes if family.axes > 1 else axes[0]
        narrow = narrow_last(outline, Read(torch.arange(read, device="meta")))
        hidden = run(base.get_submodule(family.language), rows, mask, places, keys=axes[0], **narrow)
    found = sum(value.untyped_storage().nbytes() for value in kept.values())
    del hidden
    return found


class _Attention(torch.autograd.Function):
    """Keeps query, key, value (heads repeated), output and log-sum-exp, as the kernels do; computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query.clone(), key.clone(), value.clone(), out, out[..., 0].float().clone())
        return out

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor, ...]:
        query, key, value, _, _ = ctx.saved_tensors
        return query, key, value


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **extra: Any
) -> tuple[Tensor, None]:
    """An output of the right form, ``[batch, token, head, width]``."""
    groups = query.shape[1] // key.shape[1]
    wide = (part.repeat_interleave(groups, dim=1) for part in (key, value))
    return _Attention.apply(query, *wide).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
