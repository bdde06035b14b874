"""KL between the policy's own distributions at two hidden states, with gradients through both.

``K = sum p (log p - log q)`` with ``p`` at the first row and ``q`` at the second: dK/dz_first = p (log p - log q - K),
dK/dz_second = q - p. As in ``head.py``, each gradient with respect to a hidden state is kept, and backward scales rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medpref.engine import counters
from medpref.engine.head import accumulator, back, chunks, logits


@dataclass(frozen=True, eq=False)
class Couples:
    """Rows of the hidden states to compare, and the bytes that a chunk of rows x vocabulary may take."""

    first: Tensor
    second: Tensor
    chunk_bytes: int | None = None

    def parts(self, weight: Tensor, item: int) -> list[slice]:
        return chunks(len(self.first), weight, 6, item=item, limit=self.chunk_bytes)


def cross_divergence(hidden: Tensor, weight: Tensor, couples: Couples) -> Tensor:
    """KL(policy at ``first`` || policy at ``second``) in nats, one a couple."""
    if not torch.is_grad_enabled():
        hidden, weight = hidden.detach(), weight.detach()
    return _Cross.apply(hidden, weight, couples)


class _Cross(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, couples: Couples) -> Tensor:
        keep, count = ctx.needs_input_grad[0], len(couples.first)
        value = hidden.new_zeros(count, dtype=accumulator(hidden.dtype))
        first, second = (value.new_zeros(count if keep else 0, hidden.shape[1]) for _ in range(2))
        for part in couples.parts(weight, value.element_size()):
            value[part], to_first, to_second = _compare(hidden, weight, couples, part)
            if keep:
                first[part], second[part] = back(to_first, weight), back(to_second, weight)
        ctx.couples, ctx.train_weight = couples, ctx.needs_input_grad[1]
        ctx.save_for_backward(hidden, weight, first, second)
        return value

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, first, second = ctx.saved_tensors
        couples, grad, grad_weight = ctx.couples, None, None
        if ctx.needs_input_grad[0]:
            grad = torch.zeros_like(hidden, dtype=first.dtype)
            grad.index_add_(0, couples.first, first * up[0][:, None])
            grad.index_add_(0, couples.second, second * up[0][:, None])
            grad = grad.to(hidden.dtype)
        if ctx.train_weight:
            grad_weight = _weight_gradient(hidden, weight, couples, up[0])
        return grad, grad_weight, None


def _compare(hidden: Tensor, weight: Tensor, couples: Couples, part: slice) -> tuple[Tensor, Tensor, Tensor]:
    """The KL of each couple, and its gradients with respect to the first and the second logits."""
    log_p = logits(hidden[couples.first[part]], weight).log_softmax(-1)
    log_q = logits(hidden[couples.second[part]], weight).log_softmax(-1)
    p, gap = log_p.exp(), log_p - log_q
    value = (p * gap).sum(-1)
    return value, p * gap.sub_(value[:, None]), log_q.exp_().sub_(p)


def _weight_gradient(hidden: Tensor, weight: Tensor, couples: Couples, up: Tensor) -> Tensor:
    to = accumulator(hidden.dtype)
    total = torch.zeros(weight.shape, dtype=to, device=weight.device)
    for part in couples.parts(weight, total.element_size()):
        _, to_first, to_second = _compare(hidden, weight, couples, part)
        counters.add(head_products=2 * len(to_first))
        total.addmm_(to_first.mul_(up[part, None]).t(), hidden[couples.first[part]].to(to))
        total.addmm_(to_second.mul_(up[part, None]).t(), hidden[couples.second[part]].to(to))
    return total.to(weight.dtype)
