"""Calling a language model with a mask and positions of our own, as transformers' decoders take them.

transformers returns a four-dimensional mask as it is given, so a decoder reads any row layout: a plain causal row, a
token trie, several of them packed, or new tokens against a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from medpref.models.bare import bare


def reader(path: str) -> Callable[..., Tensor]:
    """A family's ``hidden`` for a plain decoder at ``path``, with one position axis or three."""

    def hidden(
        model: Any,
        embeds: Tensor,
        mask: Tensor,
        positions: Tensor,
        *,
        ids: Tensor | None = None,
        key_positions: Tensor | None = None,
        **extra: Any,
    ) -> Tensor:
        keys = positions[0] if key_positions is None else key_positions
        places = positions[0] if len(positions) == 1 else positions
        return run(bare(model).get_submodule(path), embeds, mask, places, keys=keys, **extra)

    return hidden


def run(
    language: Any,
    embeds: Tensor,
    mask: Tensor,
    positions: Tensor,
    *,
    keys: Tensor,
    visible: Tensor | None = None,
    **extra: Any,
) -> Tensor:
    """Final hidden states ``[batch, token, width]``, after the final norm.

    ``mask[batch, 1, token, key]`` is True where a token may attend; ``positions`` is ``[batch, token]`` or
    ``[3, batch, token]``; ``keys[batch, key]`` are the keys' positions, by which a sliding window counts;
    ``visible`` is ORed into the mask before the window (image tokens that see each other both ways).
    """
    config = language.config
    full = mask if visible is None else mask | visible
    window = getattr(config, "sliding_window", None)
    narrow = full if window is None else full & _near(full, keys, window)
    dtype = embeds.dtype
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        given: Any = {
            "full_attention": _in_form(full, config, dtype),
            "sliding_attention": _in_form(narrow, config, dtype),
        }
    else:
        given = _in_form(narrow if _slides_everywhere(config) else full, config, dtype)
    extra.setdefault("use_cache", False)
    out = language(inputs_embeds=embeds, attention_mask=given, position_ids=positions, **extra)
    hidden: Tensor = out.last_hidden_state
    return hidden


def same_image(ids: Tensor, token: int, keys: int) -> Tensor:
    """``[batch, 1, token, key]``: True between image tokens of one run; the ids are those of the last keys.

    Images that follow each other directly, with no text between, would count as one: families that look both ways
    put text around every image.
    """
    image = ids == token
    starts = image & ~torch.nn.functional.pad(image, (1, 0))[:, :-1]
    run_of = torch.where(image, starts.long().cumsum(dim=-1), 0)
    together = (run_of[:, :, None] == run_of[:, None, :]) & image[:, :, None]
    return torch.nn.functional.pad(together, (keys - ids.shape[1], 0)).unsqueeze(1)


def _near(mask: Tensor, keys: Tensor, window: int) -> Tensor:
    queries = keys[:, keys.shape[1] - mask.shape[2] :]
    return ((queries[:, :, None] - keys[:, None, :]) < window).unsqueeze(1)


def _slides_everywhere(config: Any) -> bool:
    """Whether every layer has the window (Mistral); a decoder that names its layers' types says it by layer."""
    return getattr(config, "sliding_window", None) is not None and not getattr(config, "layer_types", None)


def _in_form(mask: Tensor, config: Any, dtype: torch.dtype) -> Tensor:
    """Boolean for the SDPA kernels; eager attention adds its mask."""
    if config._attn_implementation != "eager":
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
