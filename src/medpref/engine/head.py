"""The vocabulary head as one operation: log-probabilities, divergences and collisions of a few hidden states.

One sweep over the rows in chunks sized in bytes; no rows x vocabulary tensor outlives a chunk. For each functional its
gradient with respect to the hidden state is kept as one ``[row, width]`` array. A functional is linear in its upstream
scalar, so backward scales rows and multiplies nothing by the vocabulary matrix, unless that matrix is trained.

With ``z = W h``, ``p = softmax z`` (policy) and ``q`` (reference):

=============  ===============================  ==========================================
functional     value                            gradient with respect to z
=============  ===============================  ==========================================
log_prob       z_t - log sum exp z              onehot(t) - p
forward        F = sum q (log q - log p)        p - q
reverse        R = sum p (log p - log q)        p (log p - log q - R)
collision      C = log sum p^2                  2 p^2 / sum p^2 - 2 p
=============  ===============================  ==========================================

Sums are in float32, or float64 where the hidden states are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medpref.engine import counters

CHUNK_BYTES = {"cpu": 64 << 20, "cuda": 512 << 20}
"""What the rows x vocabulary tensors of one chunk may take together; a GPU needs more rows to be kept busy."""


@dataclass(frozen=True, eq=False)
class Ask:
    """What to read from the head. Rows index the hidden states given.

    ``edge_row``, ``edge_token``: log p of a token after a row. ``divergence_rows`` align with the rows of
    ``reference``, whose head is ``reference_weight``. ``collision_rows``: log sum p^2.
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


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def logits(hidden: Tensor, weight: Tensor) -> Tensor:
    """``hidden @ weight.T`` accumulated and returned in the accumulator's dtype."""
    counters.add(head_products=len(hidden))
    return _product(hidden, weight.t())


def _product(left: Tensor, right: Tensor) -> Tensor:
    to = accumulator(left.dtype)
    if left.is_cuda and right.dtype in (torch.bfloat16, torch.float16):
        return torch.mm(left.to(right.dtype), right, out_dtype=torch.float32)
    return left.to(to) @ right.to(to)


def back(grad_logits: Tensor, weight: Tensor) -> Tensor:
    """The gradient with respect to hidden states, for one with respect to logits."""
    counters.add(head_products=len(grad_logits))
    return _product(grad_logits, weight)


def chunks(rows: int, weight: Tensor, live: int, *, item: int, limit: int | None) -> list[slice]:
    """Rows in chunks whose ``live`` rows x vocabulary tensors stay within ``limit`` bytes (None: by device)."""
    allowed = CHUNK_BYTES.get(weight.device.type, CHUNK_BYTES["cpu"]) if limit is None else limit
    size = max(1, allowed // (len(weight) * item * live))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _chunks(ask: Ask, rows: int, weight: Tensor, item: int) -> list[tuple[int, int]]:
    live = 3 + 3 * (ask.divergence_rows is not None) + (ask.collision_rows is not None)
    return [(part.start, part.stop) for part in chunks(rows, weight, live, item=item, limit=ask.chunk_bytes)]


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, ask: Ask) -> tuple[Tensor, ...]:
        state = _State(hidden.detach(), weight.detach(), ask, keep=ctx.needs_input_grad[0])
        for start, end in _chunks(ask, len(hidden), weight, state.log_prob.element_size()):
            state.read(start, end)
        ctx.ask, ctx.train_weight = ask, ctx.needs_input_grad[1]
        ctx.save_for_backward(hidden, weight, *state.kept)
        return state.log_prob, state.forward, state.reverse, state.collision

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, mean, forward, reverse, collision = ctx.saved_tensors
        ask, grad, grad_weight = ctx.ask, None, None
        if ctx.needs_input_grad[0]:
            total = mean.new_zeros(len(hidden)).index_add_(0, ask.edge_row, up[0])
            grad = mean.mul(-total[:, None])
            tokens = weight[ask.edge_token].to(mean.dtype)
            grad.index_add_(0, ask.edge_row, tokens.mul_(up[0][:, None]))
            if ask.divergence_rows is not None:
                both = forward.mul(up[1][:, None]).add_(reverse.mul(up[2][:, None]))
                grad.index_add_(0, ask.divergence_rows, both)
            if ask.collision_rows is not None:
                grad.index_add_(0, ask.collision_rows, collision.mul(up[3][:, None]))
            grad = grad.to(hidden.dtype)
        if ctx.train_weight:
            grad_weight = _weight_gradient(hidden, weight, ask, up)
        return grad, grad_weight, None


class _State:
    """The values and the kept gradients of one sweep."""

    def __init__(self, hidden: Tensor, weight: Tensor, ask: Ask, *, keep: bool) -> None:
        self.hidden, self.weight, self.ask, self.keep = hidden, weight, ask, keep
        rows, width = hidden.shape
        diverging = 0 if ask.divergence_rows is None else len(ask.divergence_rows)
        colliding = 0 if ask.collision_rows is None else len(ask.collision_rows)
        self.log_prob = hidden.new_zeros(len(ask.edge_row), dtype=accumulator(hidden.dtype))
        self.forward, self.reverse = self.log_prob.new_zeros(diverging), self.log_prob.new_zeros(diverging)
        self.collision = self.log_prob.new_zeros(colliding)
        sizes = (rows, diverging, diverging, colliding) if keep else (0, 0, 0, 0)
        self.kept = [self.log_prob.new_zeros(size, width) for size in sizes]

    def read(self, start: int, end: int) -> None:
        z = logits(self.hidden[start:end], self.weight)
        log_p = z.sub_(z.logsumexp(-1, keepdim=True))
        edges = _inside(self.ask.edge_row, start, end)
        self.log_prob[edges] = log_p[self.ask.edge_row[edges] - start, self.ask.edge_token[edges]]
        p = log_p.exp() if self._needs_p() else None
        mean = None
        if self.keep and p is not None:
            mean = self.kept[0][start:end] = back(p, self.weight)
        if p is not None and self.ask.divergence_rows is not None:
            self._diverge(start, end, log_p, p, mean)
        if p is not None and self.ask.collision_rows is not None:
            self._collide(start, end, log_p, mean)

    def _needs_p(self) -> bool:
        return self.keep or self.ask.divergence_rows is not None or self.ask.collision_rows is not None

    def _diverge(self, start: int, end: int, log_p: Tensor, p: Tensor, mean: Tensor | None) -> None:
        ask = self.ask
        assert ask.divergence_rows is not None
        assert ask.reference is not None
        at = _inside(ask.divergence_rows, start, end)
        if not len(at):
            return
        rows = ask.divergence_rows[at] - start
        head = self.weight if ask.reference_weight is None else ask.reference_weight
        y = logits(ask.reference[at], head)
        log_q = y.sub_(y.logsumexp(-1, keepdim=True))
        q, some_p = log_q.exp(), p[rows]
        ratio = log_p[rows].sub_(log_q)
        self.forward[at] = -(q * ratio).sum(-1)
        weighted = some_p.mul_(ratio)
        reverse = weighted.sum(-1)
        self.reverse[at] = reverse
        if self.keep and mean is not None:
            self.kept[1][at] = mean[rows] - back(q, self.weight)
            self.kept[2][at] = back(weighted, self.weight) - reverse[:, None] * mean[rows]

    def _collide(self, start: int, end: int, log_p: Tensor, mean: Tensor | None) -> None:
        assert self.ask.collision_rows is not None
        at = _inside(self.ask.collision_rows, start, end)
        if not len(at):
            return
        rows = self.ask.collision_rows[at] - start
        double = 2 * log_p[rows]
        collision = double.logsumexp(-1)
        self.collision[at] = collision
        if self.keep and mean is not None:
            share = double.sub_(collision[:, None]).exp_()
            self.kept[3][at] = 2 * (back(share, self.weight) - mean[rows])


def _inside(rows: Tensor, start: int, end: int) -> Tensor:
    return ((rows >= start) & (rows < end)).nonzero().flatten()


def _weight_gradient(hidden: Tensor, weight: Tensor, ask: Ask, up: tuple[Tensor, ...]) -> Tensor:
    """The gradient with respect to a trained head: logits again by chunks, then ``grad_logits.T @ hidden``."""
    to = accumulator(hidden.dtype)
    total = torch.zeros(weight.shape, dtype=to, device=weight.device)
    for start, end in _chunks(ask, len(hidden), weight, total.element_size()):
        z = logits(hidden[start:end], weight)
        grad = _logit_gradient(z.sub_(z.logsumexp(-1, keepdim=True)), weight, ask, up, (start, end))
        counters.add(head_products=end - start)
        total.addmm_(grad.t(), hidden[start:end].to(to))
    return total.to(weight.dtype)


def _logit_gradient(log_p: Tensor, weight: Tensor, ask: Ask, up: tuple[Tensor, ...], span: tuple[int, int]) -> Tensor:
    start, end = span
    p = log_p.exp()
    edges = _inside(ask.edge_row, start, end)
    rows, coming = ask.edge_row[edges] - start, up[0][edges]
    grad = p * -p.new_zeros(end - start).index_add_(0, rows, coming)[:, None]
    grad.index_put_((rows, ask.edge_token[edges]), coming, accumulate=True)
    if ask.divergence_rows is not None and ask.reference is not None:
        at = _inside(ask.divergence_rows, start, end)
        rows = ask.divergence_rows[at] - start
        head = weight if ask.reference_weight is None else ask.reference_weight
        log_q = logits(ask.reference[at], head).log_softmax(-1)
        some_p, ratio = p[rows], log_p[rows] - log_q
        reverse = (some_p * ratio).sum(-1, keepdim=True)
        grad.index_add_(
            0, rows, up[1][at, None] * (some_p - log_q.exp()) + up[2][at, None] * some_p * (ratio - reverse)
        )
    if ask.collision_rows is not None:
        at = _inside(ask.collision_rows, start, end)
        rows = ask.collision_rows[at] - start
        double = 2 * log_p[rows]
        grad.index_add_(0, rows, 2 * up[3][at, None] * (double.softmax(-1) - p[rows]))
    return grad
