"""Counted floating-point operations: every matrix product, convolution and attention kernel that runs.

torch's own counter knows neither the CPU's attention kernel nor the in-place ``addmm_`` (a third of TRL's head), and
it counts causal attention as dense. Elementwise work is not counted, here as there.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PRODUCTS = {"aten::mm": (0, 1), "aten::bmm": (0, 1), "aten::addmm": (1, 2), "aten::addmm_": (1, 2)}
PRODUCTS |= {"aten::baddbmm": (1, 2), "aten::baddbmm_": (1, 2)}
ATTENTION = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
FORWARD = {f"aten::_scaled_dot_product_{kind}" for kind in ATTENTION}
BACKWARD = {f"{name}_backward" for name in FORWARD}


class Flops(TorchDispatchMode):
    """Counts while it is entered; ``head`` are the FLOPs of products with the vocabulary matrix among ``total``."""

    def __init__(self, vocabulary: torch.Tensor | None = None) -> None:
        super().__init__()
        self.total = self.head = 0
        self.by_kernel: Counter[str] = Counter()
        self._vocabulary = None if vocabulary is None else vocabulary.untyped_storage()._cdata
        self._row = 1 if vocabulary is None else 2 * vocabulary.numel()

    @property
    def head_products(self) -> float:
        """How many rows were multiplied by the whole vocabulary matrix, forward and backward together."""
        return self.head / self._row

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        work = count(func, args, kwargs or {}, out)
        if work:
            self.total += work
            self.by_kernel[name] += work
            if self._vocabulary is not None and name in PRODUCTS:
                operands = (args[place] for place in PRODUCTS[name])
                if any(one.untyped_storage()._cdata == self._vocabulary for one in operands):
                    self.head += work
        return out


def count(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> int:
    """The FLOPs of one kernel call; 0 for a kernel that multiplies no matrices."""
    name = func._schema.name
    if name in PRODUCTS:
        left, right = (args[place] for place in PRODUCTS[name])
        return 2 * left.numel() * right.shape[-1]
    if name in FORWARD or name in BACKWARD:
        given = dict(zip((one.name for one in func._schema.arguments), args, strict=False)) | kwargs
        return _attention(given, backward=name in BACKWARD)
    if name == "aten::convolution":
        return 2 * out.numel() * args[1][0].numel()
    if name == "aten::convolution_backward":
        wanted = sum(given is not None for given in tree_leaves(out[:2]))
        return 2 * wanted * args[0].numel() * args[2][0].numel()
    return 0


def _attention(given: dict[str, Any], *, backward: bool) -> int:
    """Two products forward, five backward (the scores are made again), over the pairs that the kernel visits."""
    query, key, value = (given[name] for name in ("query", "key", "value"))
    queries, keys = query.shape[-2], key.shape[-2]
    pairs = queries * (queries + 1) // 2 if given.get("is_causal") and queries == keys else queries * keys
    wide, narrow = query.shape[-1], value.shape[-1]
    each = 3 * wide + 2 * narrow if backward else wide + narrow
    return 2 * query.shape[:-2].numel() * pairs * each
