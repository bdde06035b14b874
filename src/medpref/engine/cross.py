"""KL between the policy's own distributions at two hidden states, with gradients through both.

``K = sum p (log p - log q)`` with ``p`` at the first row and ``q`` at the second: dK/dz_first = p (log p - log q - K),
dK/dz_second = q - p. The same sweep and the same sums as the head's (``head.py``), the second row as the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medpref.engine.sums import Block, Sums
from medpref.engine.sweep import differentiate, read
from medpref.engine.tiles import accumulator, row_blocks


@dataclass(frozen=True, eq=False)
class Couples:
    """Rows of the hidden states to compare, and the bytes that a tile of rows x columns may take."""

    first: Tensor
    second: Tensor
    chunk_bytes: int | None = None

    def blocks(self, hidden: Tensor, weight: Tensor) -> list[tuple[slice, Block]]:
        """The couples in blocks, and where each is."""
        spans = row_blocks(len(self.first), weight, 3, item=accumulator(hidden.dtype).itemsize, limit=self.chunk_bytes)
        return [(span, self._block(hidden, weight, span)) for span in spans]

    def _block(self, hidden: Tensor, weight: Tensor, span: slice) -> Block:
        nothing = self.first.new_zeros(0)
        return Block(
            policy=hidden[self.first[span]],
            reference=hidden[self.second[span]],
            squared=nothing,
            edge_row=nothing,
            edge_token=nothing,
            weight=weight,
            chunk_bytes=self.chunk_bytes,
        )


def cross_divergence(hidden: Tensor, weight: Tensor, couples: Couples) -> Tensor:
    """KL(policy at ``first`` || policy at ``second``) in nats, one a couple."""
    if not torch.is_grad_enabled():
        hidden, weight = hidden.detach(), weight.detach()
    return _Cross.apply(hidden, weight, couples)


class _Cross(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, couples: Couples) -> Tensor:
        hidden_wanted, ctx.train_weight = ctx.needs_input_grad[:2]
        value = hidden.new_zeros(len(couples.first), dtype=accumulator(hidden.dtype))
        ctx.sums = []
        for part, block in couples.blocks(hidden.detach(), weight.detach()):
            sums = read(block, keep=hidden_wanted and not ctx.train_weight)
            value[part] = sums.reverse
            ctx.sums.append((part, sums))
        ctx.couples = couples
        ctx.save_for_backward(hidden, weight, *(sums.moment for _, sums in ctx.sums))
        return value

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, *_ = ctx.saved_tensors
        grad = torch.zeros_like(hidden, dtype=accumulator(hidden.dtype))
        grad_weight = torch.zeros_like(weight, dtype=grad.dtype) if ctx.train_weight else None
        for part, sums in ctx.sums:
            rows = torch.cat((ctx.couples.first[part], ctx.couples.second[part]))
            grad.index_add_(0, rows, _gradient(sums, up[0][part], grad_weight))
        return (
            grad.to(hidden.dtype) if ctx.needs_input_grad[0] else None,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None,
        )


def _gradient(sums: Sums, up: Tensor, grad_weight: Tensor | None) -> Tensor:
    """The gradients of the first rows, then of the second."""
    block, nothing = sums.block, up[:0]
    mix = sums.mix(nothing, torch.zeros_like(up), up, nothing)
    p, q, _, _ = sums.total.split(block.sizes)
    to_second = (up / q)[:, None], (up / p)[:, None]

    def both(weights: Tensor) -> Tensor:
        of_p, of_q, _, _ = weights.split(block.sizes)
        return torch.cat((sums.fold(weights, mix), of_q * to_second[0] - of_p * to_second[1]))

    if grad_weight is None:
        return both(sums.moment)
    hidden = torch.cat((block.policy, block.reference))
    return differentiate(sums, hidden, to_logits=both, edge=nothing, to_weight=grad_weight)
