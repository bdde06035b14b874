"""The vocabulary head as one operation: log-probabilities, divergences and collisions of a few hidden states.

One sweep over the vocabulary matrix, in tiles sized in bytes (``tiles.py``); no rows x vocabulary tensor outlives a
tile. For each row it keeps a handful of sums over the vocabulary of ``[width]`` vectors (``sums.py``). Each functional
is linear in its upstream scalar and its gradient with respect to the hidden state is a mix of these sums, so backward
scales rows and multiplies nothing by the vocabulary matrix. Only where that matrix is trained are logits made again.

With ``z = W h``, ``p = softmax z`` (policy) and ``q`` (reference):

=============  ===============================  ==========================================
functional     value                            gradient with respect to z
=============  ===============================  ==========================================
log_prob       z_t - log sum exp z              onehot(t) - p
forward        F = sum q (log q - log p)        p - q
reverse        R = sum p (log p - log q)        p (log p - log q - R)
collision      C = log sum p^2                  2 p^2 / sum p^2 - 2 p
=============  ===============================  ==========================================

Products with the matrix: one a row for its logits, one for ``sum p W``; three more with both divergences (the
reference's logits, ``sum q W``, ``sum p log(p / q) W``). A trained matrix takes the logits, the logits again, and one
for each of the two gradients. Sums are in float32, or float64 where the hidden states are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medpref.engine import counters
from medpref.engine.sums import Block, Sums
from medpref.engine.sweep import differentiate, read
from medpref.engine.tiles import accumulator, row_blocks


@dataclass(frozen=True, eq=False)
class Ask:
    """What to read from the head. Rows index the hidden states given.

    ``edge_row``, ``edge_token``: log p of a token after a row. ``divergence_rows`` align with the rows of
    ``reference``, whose head is ``reference_weight``. ``collision_rows``: log sum p^2. ``chunk_bytes``: what the
    rows x columns tensors of a tile may take together (None: by device).
    """

    edge_row: Tensor
    edge_token: Tensor
    divergence_rows: Tensor | None = None
    reference: Tensor | None = None
    reference_weight: Tensor | None = None
    collision_rows: Tensor | None = None
    chunk_bytes: int | None = None


@dataclass(frozen=True)
class HeadOutput:
    """``log_prob`` by edge; ``forward`` and ``reverse`` KL by divergence row; ``collision`` by collision row (nats)."""

    log_prob: Tensor
    forward: Tensor
    reverse: Tensor
    collision: Tensor


def read_head(hidden: Tensor, weight: Tensor, ask: Ask) -> HeadOutput:
    """All that ``ask`` names, for ``hidden`` ``[row, width]`` and the head's ``weight`` ``[vocabulary, width]``."""
    counters.add(head_rows=len(hidden))
    if not torch.is_grad_enabled():
        hidden, weight = hidden.detach(), weight.detach()
    return HeadOutput(*_Head.apply(hidden, weight, ask))


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, ask: Ask) -> tuple[Tensor, ...]:
        hidden_wanted, ctx.train_weight = ctx.needs_input_grad[:2]
        ctx.parts = _cut(hidden.detach(), weight.detach(), ask)
        ctx.sums = [read(part.block, keep=hidden_wanted and not ctx.train_weight) for part in ctx.parts]
        ctx.save_for_backward(hidden, weight, *(sums.moment for sums in ctx.sums))
        counts = [0 if rows is None else len(rows) for rows in (ask.edge_row, ask.divergence_rows, ask.collision_rows)]
        log_prob, forward, collision = (hidden.new_zeros(count, dtype=accumulator(hidden.dtype)) for count in counts)
        reverse = torch.zeros_like(forward)
        for part, sums in zip(ctx.parts, ctx.sums, strict=True):
            log_prob[part.edges], collision[part.squared] = sums.log_prob, sums.collision
            forward[part.compared], reverse[part.compared] = sums.forward, sums.reverse
        return log_prob, forward, reverse, collision

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, *_ = ctx.saved_tensors
        grad = torch.zeros_like(hidden, dtype=accumulator(hidden.dtype))
        grad_weight = torch.zeros_like(weight, dtype=grad.dtype) if ctx.train_weight else None
        for part, sums in zip(ctx.parts, ctx.sums, strict=True):
            grad.index_add_(0, part.rows, _gradient(sums, part.up(up), grad_weight))
        return (
            grad.to(hidden.dtype) if ctx.needs_input_grad[0] else None,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None,
        )


def _gradient(sums: Sums, up: list[Tensor], grad_weight: Tensor | None) -> Tensor:
    """The gradient of the block's rows, from the sums kept, or with a trained matrix's (added to) from a sweep."""
    block, mix = sums.block, sums.mix(*up)
    if grad_weight is not None:

        def to_logits(weights: Tensor) -> Tensor:
            return sums.fold(weights, mix)

        return differentiate(sums, block.policy, to_logits=to_logits, edge=up[0], to_weight=grad_weight)
    words = block.weight[block.edge_token].to(block.to)
    return sums.fold(sums.moment, mix).index_add_(0, block.edge_row, words.mul_(up[0][:, None]))


@dataclass(frozen=True, eq=False)
class _Part:
    """A block, and where its ``rows``, ``edges``, ``compared`` and ``squared`` rows are among all that is asked."""

    block: Block
    rows: Tensor
    edges: Tensor
    compared: slice
    squared: Tensor

    def up(self, up: tuple[Tensor, ...]) -> list[Tensor]:
        return [up[0][self.edges], up[1][self.compared], up[2][self.compared], up[3][self.squared]]


def _cut(hidden: Tensor, weight: Tensor, ask: Ask) -> list[_Part]:
    """The rows in blocks, those compared with the reference first; a row that is compared twice is read twice."""
    nothing = ask.edge_row.new_zeros(0)
    compared = nothing if ask.divergence_rows is None else ask.divergence_rows
    colliding = nothing if ask.collision_rows is None else ask.collision_rows
    reference = hidden[:0] if ask.reference is None else ask.reference.detach()
    alone = torch.ones(len(hidden), dtype=torch.bool, device=hidden.device).index_fill_(0, compared, False)
    order = torch.cat((compared, alone.nonzero().flatten()))
    place = torch.empty_like(alone, dtype=torch.long).index_copy_(
        0, order, torch.arange(len(order), device=order.device)
    )
    edge_place, squared_place = place[ask.edge_row], place[colliding]
    kinds = 1 + 2 * bool(len(compared)) + bool(len(colliding))
    item = accumulator(hidden.dtype).itemsize
    parts = []
    for span in row_blocks(len(order), weight, kinds, item=item, limit=ask.chunk_bytes):
        edges, squared = _inside(edge_place, span), _inside(squared_place, span)
        edges = edges[ask.edge_token[edges].argsort()]
        block = Block(
            policy=hidden[order[span]],
            reference=reference[span],
            squared=squared_place[squared] - span.start,
            edge_row=edge_place[edges] - span.start,
            edge_token=ask.edge_token[edges],
            weight=weight,
            reference_weight=ask.reference_weight,
            chunk_bytes=ask.chunk_bytes,
        )
        parts.append(_Part(block, order[span], edges, span, squared))
    return parts


def _inside(places: Tensor, span: slice) -> Tensor:
    return ((places >= span.start) & (places < span.stop)).nonzero().flatten()
