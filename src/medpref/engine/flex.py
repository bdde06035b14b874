"""FlexAttention over a packed row of tries: a block mask from ``j <= i <= last[j]``, compiled on CUDA.

FlexAttention has no backward on the CPU; there it runs uncompiled and forward only, which is what the tests check
against ``dense``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from medpref.engine.trie import Forest


@dataclass(frozen=True, eq=False)
class Blocks:
    """The block mask of a packed row."""

    mask: BlockMask


def make_blocks(forest: Forest, device: torch.device) -> Blocks:
    """The block mask of a forest whose slots are its nodes in order."""
    last = torch.as_tensor(forest.last, device=device)

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query <= last[key])

    nodes = forest.nodes
    mask = create_block_mask(visible, B=None, H=None, Q_LEN=nodes, KV_LEN=nodes, device=str(device))
    return Blocks(mask)


def flex(query: Tensor, key: Tensor, value: Tensor, blocks: Blocks, scale: float) -> Tensor:
    """Attention output ``[1, head, node, width]``; key and value may have fewer heads than query."""
    run = _compiled() if query.is_cuda else _eager
    shared = query.shape[1] != key.shape[1]
    return run(query, key, value, block_mask=blocks.mask, scale=scale, enable_gqa=shared)


def _eager(*given: Tensor, **how: Any) -> Any:
    whole: Callable[..., Any] = flex_attention  # type: ignore[assignment]
    return whole(*given, **how)


@functools.lru_cache(maxsize=1)
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=True)
