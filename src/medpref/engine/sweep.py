"""The sweep of a block of hidden states over the vocabulary, and a second one where the matrix is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from medpref.engine import counters
from medpref.engine.sums import Block, Sums
from medpref.engine.tiles import accumulate, columns, factor, multiply


def read(block: Block, *, keep: bool) -> Sums:
    """The sums of a block; those of the matrix too, for gradients, where ``keep``."""
    sums = Sums(block, keep=keep)
    with torch.autocast(block.policy.device.type, enabled=False):  # it would sum in half precision
        for tile in _tiles(block):
            logits = tile.logits()
            sums.logit[tile.edges] = logits[tile.places]
            sums.move(logits.amax(-1))
            sums.against += tile.weigh(sums.shift)
            sums.total += tile.weights.sum(-1)
            if keep:
                accumulate(sums.moment, tile.weights, tile.matrix)
    if keep:
        counters.add(head_products=sum(block.sizes))
    return sums


def differentiate(
    sums: Sums, hidden: Tensor, *, to_logits: Callable[[Tensor], Tensor], edge: Tensor, to_weight: Tensor
) -> Tensor:
    """The gradient of ``hidden``; that of the matrix is added to ``to_weight``.

    Logits are made again, tile by tile. ``to_logits`` turns weights of all kinds into the gradient of the logits of
    ``hidden``, but for the edges' own words, whose upstream gradient is ``edge``.
    """
    block = sums.block
    grad = torch.zeros_like(hidden, dtype=block.to)
    hidden = hidden.to(factor(hidden.dtype, block.weight))
    for tile in _tiles(block, beside=2 * len(hidden)):
        tile.logits()
        tile.weigh(sums.shift)
        of_logits = to_logits(tile.weights).index_put_(tile.places, edge[tile.edges], accumulate=True)
        accumulate(grad, of_logits, tile.matrix)
        accumulate(to_weight[tile.span], of_logits.t(), hidden)
    counters.add(head_products=2 * len(hidden))
    return grad


@dataclass(frozen=True, eq=False)
class _Tile:
    """Columns ``span`` of the vocabulary: room for ``weights`` of all kinds, what to multiply, the ``edges`` to it."""

    block: Block
    span: slice
    weights: Tensor
    factors: list[tuple[Tensor, Tensor]]
    edges: slice

    @property
    def matrix(self) -> Tensor:
        """The policy's."""
        return self.factors[0][1]

    @property
    def places(self) -> tuple[Tensor, Tensor]:
        """Row and column of each edge."""
        return self.block.edge_row[self.edges], self.block.edge_token[self.edges] - self.span.start

    def logits(self) -> Tensor:
        """Those of policy and reference, in the place of p and q."""
        start = 0
        for hidden, matrix in self.factors:
            multiply(hidden, matrix.t(), self.weights[start : start + len(hidden)])
            start += len(hidden)
        return self.weights[:start]

    def weigh(self, shift: Tensor) -> Tensor:
        """The sum of b r over these columns, having made the logits into weights of all kinds."""
        p, q, ratio, square = self.weights.split(self.block.sizes)
        logits, same = self.weights[: len(shift)], p[: len(q)]
        logits.sub_(shift[:, None])
        torch.sub(same, q, out=ratio)
        logits.exp_()
        against = torch.linalg.vecdot(q, ratio)
        ratio.mul_(same)
        square.copy_(p[self.block.squared]).square_()
        return against


def _tiles(block: Block, *, beside: int = 0) -> Iterator[_Tile]:
    """The tiles of a block in turn, all in one buffer; policy and reference rows are stacked under a shared head.

    ``beside``: rows of other tensors of a tile's columns.
    """
    counters.add(head_products=block.rows + block.compared)
    kind, live, device = factor(block.policy.dtype, block.weight), sum(block.sizes), block.policy.device
    policy, reference = block.policy.to(kind), block.reference.to(kind)
    factors = [(torch.cat((policy, reference)), block.weight)]
    if block.reference_weight is not None:
        factors = [(policy, block.weight), (reference, block.reference_weight)]
    item = block.to.itemsize + (0 if kind == block.to else kind.itemsize)
    spans = columns(live + beside, block.weight, item=item, limit=block.chunk_bytes)
    buffer = torch.empty(live * max(span.stop - span.start for span in spans), dtype=block.to, device=device)
    ends = torch.searchsorted(block.edge_token, torch.tensor([span.stop for span in spans], device=device)).tolist()
    for span, first, end in zip(spans, (0, *ends), ends, strict=False):
        yield _Tile(
            block=block,
            span=span,
            weights=buffer[: live * (span.stop - span.start)].view(live, -1),
            factors=[(hidden, matrix[span].to(kind)) for hidden, matrix in factors],
            edges=slice(first, end),
        )
