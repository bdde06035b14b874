"""Exact attention over a packed row of tries by parts: trunks, the rest against its trunk, the branches on their own.

The trunk of a trie is its unbranched beginning (image, shared prompt): every later node sees all of it. So a later
query attends to two sets of keys, each with a stock kernel, and the two results merge by their log-sum-exps::

    L = log(exp L_1 + exp L_2)        out = exp(L_1 - L) out_1 + exp(L_2 - L) out_2

Backward calls the stock backward kernel on each part with the *global* ``out`` and ``L`` (as ring attention does):
the probabilities of a part are ``exp(score - L)`` and each query's ``sum(grad_out * out)`` is the global one, so the
parts' gradients add up to the exact ones. No mask of the whole row is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medpref.engine.trie import Forest

FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True, eq=False)
class Bundle:
    """Branches of similar size: ``node[b, s]`` (padded with node 0), a float ``mask[b, 1, s, s]``, ``valid[b, s]``."""

    node: Tensor
    mask: Tensor
    valid: Tensor


@dataclass(frozen=True, eq=False)
class Parts:
    """``trunks``: (first node, end of the trunk, end of the tree) of each tree; ``bundles``: all that hangs below."""

    trunks: tuple[tuple[int, int, int], ...]
    bundles: tuple[Bundle, ...]


def find_trunks(forest: Forest) -> list[tuple[int, int, int]]:
    """First node, end of the unbranched beginning and end of each tree.

    Everything after a trunk's node descends from it: in depth-first order these are the leading nodes whose last
    descendant is the tree's last node.
    """
    trunks = []
    for start, end in zip(forest.starts[:-1].tolist(), forest.starts[1:].tolist(), strict=True):
        whole = forest.last[start:end] == end - 1
        trunks.append((start, start + int(np.cumprod(whole).sum()), end))
    return trunks


def find_branches(forest: Forest) -> list[tuple[int, int]]:
    """First node and end of each subtree that hangs from a trunk."""
    branches = []
    for _, node, end in find_trunks(forest):
        while node < end:
            branches.append((node, int(forest.last[node]) + 1))
            node = branches[-1][1]
    return branches


def bundle_sizes(branches: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Branches in bundles whose shortest is at least two thirds of the longest, so that padding stays small."""
    bundles: list[list[tuple[int, int]]] = []
    for branch in sorted(branches, key=lambda one: one[0] - one[1]):
        size = branch[1] - branch[0]
        if bundles and 3 * size >= 2 * (bundles[-1][0][1] - bundles[-1][0][0]):
            bundles[-1].append(branch)
        else:
            bundles.append([branch])
    return bundles


def make_parts(forest: Forest, *, dtype: torch.dtype) -> Parts:
    """The parts of a packed row whose slots are the forest's nodes in order."""
    bundles = [_bundle(forest, members, dtype) for members in bundle_sizes(find_branches(forest))]
    return Parts(tuple(find_trunks(forest)), tuple(bundles))


def _bundle(forest: Forest, members: list[tuple[int, int]], dtype: torch.dtype) -> Bundle:
    starts, ends = (np.asarray(side) for side in zip(*members, strict=True))
    column = np.arange((ends - starts).max())
    node = starts[:, None] + column
    valid = node < ends[:, None]
    node = np.where(valid, node, 0)
    last = np.where(valid, forest.last[node] - starts[:, None], column)
    seen = (column[None, None, :] <= column[None, :, None]) & (column[None, :, None] <= last[:, None, :])
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(torch.as_tensor(~seen), float("-inf")).unsqueeze(1)
    return Bundle(torch.as_tensor(node), mask, torch.as_tensor(valid))


def cascade(query: Tensor, key: Tensor, value: Tensor, parts: Parts, scale: float) -> Tensor:
    """Attention output ``[1, head, node, width]`` for a packed row; key and value have as many heads as query."""
    return _Cascade.apply(query, key, value, parts, scale)


class _Cascade(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, parts: Parts, scale: float) -> Tensor:
        out = torch.empty_like(query)
        total = query.new_empty(query.shape[:-1], dtype=torch.promote_types(query.dtype, torch.float32))
        for start, middle, end in parts.trunks:
            trunk = [given[:, :, start:middle] for given in (query, key, value)]
            out[:, :, start:middle], total[:, :, start:middle] = FORWARD(*trunk, 0.0, True, scale=scale)
            if middle < end:
                rest = query[:, :, middle:end]
                out[:, :, middle:end], total[:, :, middle:end] = FORWARD(rest, *trunk[1:], 0.0, False, scale=scale)
        for bundle in parts.bundles:
            given = [_gather(whole, bundle) for whole in (query, key, value)]
            own, log_sum = FORWARD(*given, 0.0, False, attn_mask=bundle.mask, scale=scale)
            _merge(out, total, own, log_sum, bundle)
        ctx.parts, ctx.scale = parts, scale
        ctx.save_for_backward(query, key, value, out, total)
        return out

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, total = ctx.saved_tensors
        grads = tuple(torch.zeros_like(given) for given in (query, key, value))
        for start, middle, end in ctx.parts.trunks:
            inside = slice(start, middle)
            for queries, causal in ((inside, True), (slice(middle, end), False)):
                if queries.start == queries.stop:
                    continue
                given = (query[:, :, queries], key[:, :, inside], value[:, :, inside], out[:, :, queries])
                found = BACKWARD(up[0][:, :, queries], *given, total[:, :, queries], 0.0, causal, scale=ctx.scale)
                for grad, part, where in zip(grads, found, (queries, inside, inside), strict=True):
                    grad[:, :, where] += part
        for bundle in ctx.parts.bundles:
            own = [_gather(whole, bundle) for whole in (up[0], query, key, value, out, total)]
            found = BACKWARD(*own, 0.0, False, attn_mask=bundle.mask, scale=ctx.scale)
            for grad, part in zip(grads, found, strict=True):
                grad[0, :, bundle.node[bundle.valid]] += part.transpose(0, 1)[:, bundle.valid]
        return (*grads, None, None)


def _gather(whole: Tensor, bundle: Bundle) -> Tensor:
    """``[1, head, node, ...]`` as ``[branch, head, place, ...]``; padding holds copies of node 0 and sees only itself."""
    return whole[0][:, bundle.node].transpose(0, 1)


def _merge(out: Tensor, total: Tensor, own: Tensor, log_sum: Tensor, bundle: Bundle) -> None:
    nodes = bundle.node[bundle.valid]
    before, mine = total[0][:, nodes], log_sum.transpose(0, 1)[:, bundle.valid]
    both = torch.logaddexp(before, mine)
    first, second = ((part - both).exp().unsqueeze(-1).to(out.dtype) for part in (before, mine))
    out[0, :, nodes] = out[0][:, nodes] * first + own.transpose(0, 1)[:, bundle.valid] * second
    total[0, :, nodes] = both
