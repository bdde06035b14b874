"""Exact attention over a packed row of tries by parts: trunks, the rest against its trunk, the branches on their own.

The trunk of a trie is its unbranched beginning (image, shared prompt): every later node sees all of it. So a later
query attends to two sets of keys, each with a stock kernel, and the two results merge by their log-sum-exps::

    L = log(exp L_1 + exp L_2)        out = exp(L_1 - L) out_1 + exp(L_2 - L) out_2

Backward calls the stock backward kernel on each part with the *global* ``out`` and ``L`` (as ring attention does):
the probabilities of a part are ``exp(score - L)`` and each query's ``sum(grad_out * out)`` is the global one, so the
parts' gradients add up to the exact ones. No mask of the whole row is ever made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
class Block:
    """Queries ``first:stop`` see the first ``end - start`` keys of their trunk; ``mask`` hides what lies ahead."""

    first: int
    stop: int
    start: int
    end: int
    mask: Tensor | None


@dataclass(frozen=True, eq=False)
class Parts:
    """``trees``: first node and end of each tree with its blocks, the one with most keys first.

    ``bundles``: all that hangs below the trunks. ``covered``: every node is a query of some block. A trunk is empty
    where sequences of one root differ from their first token on (the stock kernel must not see it).
    """

    trees: tuple[tuple[int, int, tuple[Block, ...]], ...]
    bundles: tuple[Bundle, ...]
    covered: bool

    def narrowed(self, nodes: Sequence[int]) -> Parts:
        """Without the blocks in whose queries there is none of ``nodes``; queries left out come out as zeros."""
        wanted = np.sort(np.asarray(nodes))
        kept = [
            (start, end, tuple(one for one in blocks if np.diff(np.searchsorted(wanted, (one.first, one.stop)))[0]))
            for start, end, blocks in self.trees
        ]
        return Parts(tuple(kept), self.bundles, covered=False)


def make_parts(forest: Forest, *, dtype: torch.dtype) -> Parts:
    """The parts of a packed row whose slots are the forest's nodes in order."""
    masks: dict[tuple[int, int], Tensor] = {}
    trunks = find_trunks(forest)
    trees = [(start, end, _blocks(start, middle, end, masks, dtype)) for start, middle, end in trunks]
    bundles = [_bundle(forest, members, dtype) for members in bundle_branches(find_branches(forest))]
    return Parts(tuple(trees), tuple(bundles), covered=all(start < middle for start, middle, _ in trunks))


def _blocks(
    start: int, middle: int, end: int, masks: dict[tuple[int, int], Tensor], dtype: torch.dtype
) -> tuple[Block, ...]:
    """A trunk's queries by blocks, and the queries after it.

    The stock kernel reads keys 512 at a time even where causality hides most of them; blocks of queries with the keys
    up to their own end leave out what it would compute for nothing.
    """
    if start == middle:
        return ()
    blocks = [Block(middle, end, start, middle, None)] if middle < end else []
    count = max(1, round((middle - start) / BLOCK))
    edges = [start + (middle - start) * number // count for number in range(count + 1)]
    for first, stop in reversed(list(pairwise(edges))):
        shape = (stop - first, stop - start)
        if shape not in masks:
            unseen = torch.full(shape, float("-inf"), dtype=dtype)
            masks[shape] = unseen.triu_(1 + first - start)[None, None]
        blocks.append(Block(first, stop, start, stop, masks[shape]))
    return tuple(blocks)


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
        out = torch.empty_like(query) if parts.covered else torch.zeros_like(query)
        total = query.new_full(query.shape[:2], float("-inf"), dtype=torch.promote_types(query.dtype, torch.float32))
        for one in _all_blocks(parts):
            keys = _run(key, one.start, one.end), _run(value, one.start, one.end)
            asked = _run(query, one.first, one.stop)
            found, log_sum = FORWARD(asked, *keys, 0.0, False, attn_mask=one.mask, scale=scale)
            out[one.first : one.stop], total[one.first : one.stop] = found[0].transpose(0, 1), log_sum[0].t()
        for bundle in parts.bundles:
            given = [_gather(whole, bundle) for whole in (query, key, value)]
            found, log_sum = FORWARD(*given, 0.0, False, attn_mask=bundle.mask, scale=scale)
            _merge(out, total, _rows(found, bundle), _rows(log_sum, bundle), bundle.own)
        if not parts.covered:
            total.masked_fill_(total == float("-inf"), float("inf"))  # queries left out, which padding may repeat
        ctx.parts, ctx.scale = parts, scale
        ctx.save_for_backward(query, key, value, out, total)
        return out

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, total = ctx.saved_tensors
        rising = up[0].contiguous()
        grads = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        if not ctx.parts.covered:
            grads[0].zero_()
        for start, end, blocks in ctx.parts.trees:
            known = blocks[0].end if blocks else start
            for grad in grads[1:]:
                grad[known:end] = 0
            for number, one in enumerate(blocks):
                keys = _run(key, one.start, one.end), _run(value, one.start, one.end)
                given = (_run(whole, one.first, one.stop) for whole in (rising, query, out, total))
                _backward_block(grads, one, keys, given, scale=ctx.scale, add=number > 0)
        for bundle in ctx.parts.bundles:
            own = [_gather(whole, bundle) for whole in (rising, query, key, value, out, total)]
            found = BACKWARD(*own, 0.0, False, attn_mask=bundle.mask, scale=ctx.scale)
            for grad, part in zip(grads, found, strict=True):
                grad.index_add_(0, bundle.own, _rows(part, bundle))
        return (*grads, None, None)


def _backward_block(
    grads: tuple[Tensor, ...],
    one: Block,
    keys: tuple[Tensor, Tensor],
    given: Iterable[Tensor],
    *,
    scale: float,
    add: bool,
) -> None:
    """A block's gradients: its queries are no other block's; its keys' are added where an earlier block wrote them."""
    up, asked, out, total = given
    found = BACKWARD(up, asked, *keys, out, total, 0.0, False, attn_mask=one.mask, scale=scale)
    grads[0][one.first : one.stop] = found[0][0].transpose(0, 1)
    for grad, part in zip(grads[1:], found[1:], strict=True):
        place, rows = grad[one.start : one.end], part[0].transpose(0, 1)
        place.add_(rows) if add else place.copy_(rows)


def _all_blocks(parts: Parts) -> Iterator[Block]:
    return (one for _, _, blocks in parts.trees for one in blocks)


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
