"""What the head reads of the softmax of some hidden states, from sums over the vocabulary that grow tile by tile.

For policy logits ``z = W h`` and reference logits ``y``, four kinds of weights are summed over the vocabulary, both
alone and times the rows of ``W``, relative to the largest logits met so far, ``m`` and ``n``:

======  ====================================  =====================================
kind    weight of a word                      rows
======  ====================================  =====================================
p       a = exp(z - m)                        every row
q       b = exp(y - n)                        rows that are compared with a reference
ratio   a r  with  r = (z - m) - (y - n)      the same
square  a^2                                   rows whose collision is read
======  ====================================  =====================================

With ``A = sum a``, ``B = sum b`` and ``d = log A - log B``: log p - log q = r - d, and so

- log p_t = z_t - m - log A, forward KL = d - sum(b r) / B, reverse KL = sum(a r) / A - d,
- collision log sum p^2 = log sum(a^2) - 2 log A,

and the gradient of each with respect to ``h`` is a mix of the four sums of ``W``, just as the gradient with respect
to ``z`` is a mix of the four weights. Where ``m`` or ``n`` grows, the sums so far shrink and ``r`` moves: online
softmax (Milakov and Gimelshein, arXiv:1805.02867, algorithm 3), for expectations too. Where p and q are peaked at the
same word, r is zero there, so that nothing large cancels; half precision would feel it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medpref.engine.tiles import accumulator


@dataclass(frozen=True, eq=False)
class Block:
    """Hidden states read together. The first ``len(reference)`` rows of ``policy`` are compared with ``reference``.

    ``squared``: rows whose p^2 is summed. ``edge_row``, ``edge_token``: log p to read, in the order of the tokens.
    ``weight`` ``[vocabulary, width]`` is the policy's head, ``reference_weight`` the reference's where it is another.
    """

    policy: Tensor
    reference: Tensor
    squared: Tensor
    edge_row: Tensor
    edge_token: Tensor
    weight: Tensor
    reference_weight: Tensor | None = None
    chunk_bytes: int | None = None

    @property
    def rows(self) -> int:
        return len(self.policy)

    @property
    def compared(self) -> int:
        return len(self.reference)

    @property
    def sizes(self) -> list[int]:
        """Rows of each kind of weight: p, q, ratio, square."""
        return [self.rows, self.compared, self.compared, len(self.squared)]

    @property
    def to(self) -> torch.dtype:
        """What sums are in."""
        return accumulator(self.policy.dtype)

    def zeros(self, *size: int) -> Tensor:
        return torch.zeros(*size, dtype=self.to, device=self.policy.device)


class Sums:
    """``shift`` (m, n); ``total`` of each row's weights, ``moment`` = weights times ``W``; ``against`` = sum b r.

    ``logit`` are those of the edges' tokens. ``moment`` has no rows where gradients are not wanted.
    """

    def __init__(self, block: Block, *, keep: bool) -> None:
        self.block, self.keep = block, keep
        self.shift = block.zeros(block.rows + block.compared).fill_(torch.finfo(block.to).min)  # -inf would give NaN
        self.total, self.against = block.zeros(sum(block.sizes)), block.zeros(block.compared)
        self.moment = block.zeros(sum(block.sizes) if keep else 0, block.policy.shape[1])
        self.logit = block.zeros(len(block.edge_row))

    def move(self, top: Tensor) -> None:
        """Shift to logits of at least ``top``: a and b shrink, and r grows by what n moved less what m did."""
        block, compared = self.block, self.block.compared
        shift = torch.maximum(self.shift, top)
        moved, self.shift = shift - self.shift, shift
        gap = moved[block.rows :] - moved[:compared]
        self.against.addcmul_(gap, self.total.split(block.sizes)[1])
        _turn(self.total, block.sizes, gap)
        scale_p, scale_q = moved.neg_().exp_().split(block.sizes[:2])
        scale = torch.cat((scale_p, scale_q, scale_p[:compared], scale_p[block.squared].square()))
        self.against.mul_(scale_q)
        self.total.mul_(scale)
        if self.keep:
            _turn(self.moment, block.sizes, gap[:, None])
            self.moment.mul_(scale[:, None])

    @property
    def log_prob(self) -> Tensor:
        rows = self.block.rows
        return self.logit - (self.shift[:rows] + self.total[:rows].log())[self.block.edge_row]

    @property
    def forward(self) -> Tensor:
        p, q, _, _ = self.total.split(self.block.sizes)
        return p[: self.block.compared].log() - q.log() - self.against / q

    @property
    def reverse(self) -> Tensor:
        p, q, ratio, _ = self.total.split(self.block.sizes)
        return ratio / p[: self.block.compared] + q.log() - p[: self.block.compared].log()

    @property
    def collision(self) -> Tensor:
        p, _, _, square = self.total.split(self.block.sizes)
        return square.log() - 2 * p[self.block.squared].log()

    def mix(self, edge: Tensor, forward: Tensor, reverse: Tensor, collision: Tensor) -> Tensor:
        """How much of each row of weights is in the gradient, for these upstream; an edge's own word is left out."""
        block, compared = self.block, self.block.compared
        p, q, ratio, square = self.total.split(block.sizes)
        of_p = torch.zeros_like(p).index_add_(0, block.edge_row, -edge)
        of_p[:compared] += forward - reverse * ratio / p[:compared]
        of_p.index_add_(0, block.squared, -2 * collision)
        return torch.cat((of_p / p, -forward / q, reverse / p[:compared], 2 * collision / square))

    def fold(self, weights: Tensor, mix: Tensor) -> Tensor:
        """``weights`` of all kinds (or their sums of ``W``) mixed into one row for each of the policy's."""
        p, q, ratio, square = weights.split(self.block.sizes)
        of_p, of_q, of_ratio, of_square = mix[:, None].split(self.block.sizes)
        out = p * of_p
        out[: self.block.compared].addcmul_(q, of_q).addcmul_(ratio, of_ratio)
        return out.index_add_(0, self.block.squared, square * of_square)


def _turn(sums: Tensor, sizes: list[int], gap: Tensor) -> None:
    """Sum a (r + gap) in the place of sum a r."""
    p, _, ratio, _ = sums.split(sizes)
    ratio.addcmul_(gap, p[: len(gap)])
