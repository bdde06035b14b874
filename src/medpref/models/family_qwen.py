"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: dynamic resolution and multi-axis rotary positions (M-RoPE).

An image of ``1 x h x w`` patches gives ``(h / merge) * (w / merge)`` tokens whose positions are (time, row, column);
text after it continues at the largest position so far plus one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medpref.models.bare import bare
from medpref.models.decoder import reader, run
from medpref.models.family import Family, Pixels, image_token, joined


def features(model: Any, pixels: Pixels) -> Tensor:
    """``[image_token, width]``: the merged patches of all images, in order."""
    return joined(model, pixels["pixel_values"], image_grid_thw=pixels["image_grid_thw"])


def deep_features(model: Any, pixels: Pixels) -> Tensor:
    """``[image_token, (1 + levels) * width]``: the merged patches, then what DeepStack adds after each early layer."""
    base = bare(model)
    values, grid = pixels["pixel_values"].to(base.device, base.dtype), pixels["image_grid_thw"].to(base.device)
    out = base.get_image_features(pixel_values=values, image_grid_thw=grid, return_dict=True)
    return torch.cat([torch.cat(tuple(level)) for level in (out.pooler_output, *out.deepstack_features)], dim=-1)


def deep_hidden(
    model: Any,
    embeds: Tensor,
    mask: Tensor,
    positions: Tensor,
    *,
    ids: Tensor | None = None,
    key_positions: Tensor | None = None,
    **extra: Any,
) -> Tensor:
    """Final hidden states; the extra columns of ``embeds`` (zero for text) are added after the first layers.

    DeepStack (arXiv:2406.04334) adds to image tokens only; adding zeros elsewhere is the same.
    """
    first, *deeper = embeds.split(embeds.shape[-1] // (1 + levels(model)), dim=-1)
    everywhere = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device)
    return run(
        bare(model).model.language_model,
        first,
        mask,
        positions,
        keys=positions[0] if key_positions is None else key_positions,
        visual_pos_masks=everywhere,
        deepstack_visual_embeds=[level.flatten(0, 1) for level in deeper],
        **extra,
    )


def levels(model: Any) -> int:
    """How many layers DeepStack feeds."""
    return len(bare(model).config.vision_config.deepstack_visual_indexes)


def positions(model: Any, ids: Sequence[int], pixels: Pixels) -> Tensor:
    """``[3, token]``: time, row and column of image tokens, one running number for text."""
    config = bare(model).config
    merge = config.vision_config.spatial_merge_size
    return grid_positions(ids, config.image_token_id, [(h // merge, w // merge) for _, h, w in _grids(pixels)])


def grid_positions(ids: Sequence[int], image_token: int, grids: Sequence[tuple[int, int]]) -> Tensor:
    """``[3, token]`` for images of ``rows x columns`` tokens each (Qwen2-VL, arXiv:2409.12191, section 2.1)."""
    parts: list[Tensor] = []
    index, start, waiting = 0, 0, iter(grids)
    while index < len(ids):
        if ids[index] == image_token:
            rows, columns = next(waiting)
            row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            parts.append(torch.stack([torch.zeros_like(row), row, column]).reshape(3, -1) + start)
            index, start = index + rows * columns, start + max(rows, columns)
        else:
            parts.append(torch.full((3, 1), start))
            index, start = index + 1, start + 1
    return torch.cat(parts, dim=1)


def placeholders(processor: Any, pixels: Pixels) -> list[str]:
    """One image pad token per merged patch."""
    merge = processor.image_processor.merge_size
    return [processor.image_token * (t * h * w // merge**2) for t, h, w in _grids(pixels)]


def _grids(pixels: Pixels) -> list[tuple[int, int, int]]:
    grid = pixels.get("image_grid_thw")
    return [] if grid is None else [tuple(row) for row in grid.tolist()]


QWEN_VL = Family(
    name="qwen-vl",
    model_types=("qwen2_vl", "qwen2_5_vl"),
    placeholder=image_token,
    placeholders=placeholders,
    features=features,
    positions=positions,
    hidden=reader("model.language_model"),
    towers=("model.visual.patch_embed.", "model.visual.blocks."),
    projectors=("model.visual.merger.",),
    axes=3,
)
QWEN3_VL = Family(
    name="qwen3-vl",
    model_types=("qwen3_vl",),
    placeholder=image_token,
    placeholders=placeholders,
    features=deep_features,
    positions=positions,
    hidden=deep_hidden,
    towers=("model.visual.patch_embed.", "model.visual.pos_embed.", "model.visual.blocks."),
    projectors=("model.visual.merger.", "model.visual.deepstack_merger_list."),
    axes=3,
    levels=levels,
)
