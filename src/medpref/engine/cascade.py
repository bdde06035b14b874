"""Exact attention over a packed row of tries by parts: trunks, the rest against its trunk, the branches on their own.

The trunk of a trie is its unbranched beginning (image, shared prompt): every later node sees all of it. So a later
query attends to two sets of keys, each with a stock kernel, and the two results merge by their log-sum-exps::

    L = log(exp L_1 + exp L_2)        out = exp(L_1 - L) out_1 + exp(L_2 - L) out_2

Backward calls the stock backward kernel on each part with the *global* ``out`` and ``L`` (as ring attention does):
the probabilities of a part are ``exp(score - L)`` and each query's ``sum(grad_out * out)`` is the global one, so the
parts' gradients add up to the exact ones. No mask of the whole row is ever made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medpref.engine.planner import bundle_branches, find_branches, find_trunks
from medpref.engine.trie import Forest

FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
BLOCK = 128
BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True, eq=False)
class Bundle:
    """Branches of similar size, padded with node 0: ``node[b * s]``, a float ``mask[b, 1, s, s]``.

    ``place`` are the unpadded places in ``node``, ``own`` the nodes there.
    """

    node: Tensor
    mask: Tensor
    place: Tensor
    own: Tensor


@dataclass(frozen=True, eq=False)
class Parts:
    """``trunks``: (first node, end of the trunk, end of the tree) of each tree; ``bundles``: all that hangs below.

    A trunk is empty where sequences of one root differ from their first token on (the stock kernel must not see it).
    """

    trunks: tuple[tuple[int, int, int], ...]
    bundles: tuple[Bundle, ...]


def make_parts(forest: Forest, *, dtype: torch.dtype) -> Parts:
    """The parts of a packed row whose slots are the forest's nodes in order."""
    bundles = [_bundle(forest, members, dtype) for members in bundle_branches(find_branches(forest))]
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
    place = np.flatnonzero(valid)
    node = node.flatten()
    return Bundle(torch.as_tensor(node), mask, torch.as_tensor(place), torch.as_tensor(node[place]))


def cascade(query: Tensor, key: Tensor, value: Tensor, parts: Parts, scale: float) -> Tensor:
    """Attention output ``[1, node, head, width]`` for a packed row ``[1, head, node, width]``; heads repeated."""
    rows = [given[0].transpose(0, 1).contiguous() for given in (query, key, value)]
    return _Cascade.apply(*rows, parts, scale).unsqueeze(0)


class _Cascade(torch.autograd.Function):
    """Tensors are ``[node, head, width]`` in memory, so that nodes are gathered row by row."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, parts: Parts, scale: float) -> Tensor:
        out = torch.zeros_like(query)
        total = query.new_full(query.shape[:2], float("-inf"), dtype=torch.promote_types(query.dtype, torch.float32))
        for start, first, stop, end, mask in _blocks(parts, query):
            keys = _run(key, start, end), _run(value, start, end)
            found, log_sum = FORWARD(_run(query, first, stop), *keys, 0.0, False, attn_mask=mask, scale=scale)
            out[first:stop], total[first:stop] = found[0].transpose(0, 1), log_sum[0].t()
        for bundle in parts.bundles:
            given = [_gather(whole, bundle) for whole in (query, key, value)]
            found, log_sum = FORWARD(*given, 0.0, False, attn_mask=bundle.mask, scale=scale)
            _merge(out, total, _rows(found, bundle), _rows(log_sum, bundle), bundle.own)
        ctx.parts, ctx.scale = parts, scale
        ctx.save_for_backward(query, key, value, out, total)
        return out

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, total = ctx.saved_tensors
        rising = up[0].contiguous()
        grads = tuple(torch.zeros_like(given) for given in (query, key, value))
        for start, first, stop, end, mask in _blocks(ctx.parts, query):
            keys = _run(key, start, end), _run(value, start, end)
            up_, asked, out_, total_ = (_run(whole, first, stop) for whole in (rising, query, out, total))
            found = BACKWARD(up_, asked, *keys, out_, total_, 0.0, False, attn_mask=mask, scale=ctx.scale)
            grads[0][first:stop] = found[0][0].transpose(0, 1)
            for grad, part in zip(grads[1:], found[1:], strict=True):
                grad[start:end] += part[0].transpose(0, 1)
        for bundle in ctx.parts.bundles:
            own = [_gather(whole, bundle) for whole in (rising, query, key, value, out, total)]
            found = BACKWARD(*own, 0.0, False, attn_mask=bundle.mask, scale=ctx.scale)
            for grad, part in zip(grads, found, strict=True):
                grad.index_add_(0, bundle.own, _rows(part, bundle))
        return (*grads, None, None)


def _blocks(parts: Parts, query: Tensor) -> Iterator[tuple[int, int, int, int, Tensor | None]]:
    """Queries ``first:stop`` with the keys ``start:end`` of their trunk that they see, and a mask on their diagonal.

    The stock kernel reads keys 512 at a time even where causality hides most of them; blocks of queries with the keys
    up to their own end leave out what it would compute for nothing.
    """
    masks: dict[tuple[int, int], Tensor] = {}
    for start, middle, end in parts.trunks:
        if start == middle:
            continue
        count = max(1, round((middle - start) / BLOCK))
        edges = [start + (middle - start) * number // count for number in range(count + 1)]
        for first, stop in pairwise(edges):
            shape = (stop - first, stop - start)
            if shape not in masks:
                unseen = torch.full(shape, float("-inf"), dtype=query.dtype, device=query.device)
                masks[shape] = unseen.triu_(1 + first - start)[None, None]
            yield start, first, stop, stop, masks[shape]
        if middle < end:
            yield start, middle, end, middle, None


def _run(whole: Tensor, start: int, end: int) -> Tensor:
    """Nodes in a row as the kernels take them, ``[1, head, node, ...]``."""
    return whole[start:end].transpose(0, 1).unsqueeze(0)


def _gather(whole: Tensor, bundle: Bundle) -> Tensor:
    """A bundle's nodes, ``[branch, head, place, ...]``; padding is node 0 and sees only itself."""
    rows = whole.index_select(0, bundle.node)
    return rows.view(len(bundle.mask), bundle.mask.shape[-1], *whole.shape[1:]).transpose(1, 2)


def _rows(found: Tensor, bundle: Bundle) -> Tensor:
    """``[branch, head, place, ...]`` back as a row for each of the bundle's own nodes."""
    return found.transpose(1, 2).flatten(0, 1).index_select(0, bundle.place)


def _merge(out: Tensor, total: Tensor, found: Tensor, log_sum: Tensor, nodes: Tensor) -> None:
    before = total.index_select(0, nodes)
    both = torch.logaddexp(before, log_sum)
    first, second = ((part - both).exp_().unsqueeze(-1).to(out.dtype) for part in (before, log_sum))
    out.index_copy_(0, nodes, out.index_select(0, nodes).mul_(first).addcmul_(found, second))
    total.index_copy_(0, nodes, both)
