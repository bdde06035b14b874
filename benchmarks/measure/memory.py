"""Bytes of tensors: those alive at once, and those that autograd keeps for the backward pass.

Both count storages, not views. What existed before (weights, optimiser states, held features) is left out, so that a
number is what a step adds. On CUDA the allocator's own peak is the better number; these run anywhere.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Held:
    """Storages seen so far with their bytes; ``peak`` is the most that was alive at once."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self._bytes: dict[int, int] = {}

    def add(self, tensor: Tensor, *, counted: bool) -> None:
        """Remember a tensor's storage until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._bytes:
            return
        self._bytes[key] = storage.nbytes() if counted else 0
        weakref.finalize(storage, self._drop, key)
        self.now += self._bytes[key]
        self.peak = max(self.peak, self.now)

    def _drop(self, key: int) -> None:
        self.now -= self._bytes.pop(key, 0)


class LiveBytes(TorchDispatchMode):
    """``held.peak``: the most bytes that tensors made inside the block had at once."""

    def __init__(self) -> None:
        super().__init__()
        self.held = Held()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for given in tree_leaves((args, kwargs)):
            if isinstance(given, Tensor):
                self.held.add(given, counted=False)
        out = func(*args, **(kwargs or {}))
        for made in tree_leaves(out):
            if isinstance(made, Tensor):
                self.held.add(made, counted=True)
        return out


@contextlib.contextmanager
def saved_bytes(before: Iterable[Tensor]) -> Iterator[Held]:
    """What autograd keeps inside the block, ``before`` (parameters) left out.

    Inside a checkpointed layer autograd's own hooks come first, so what a checkpoint keeps is not seen: read
    :class:`LiveBytes` there.
    """
    held = Held()
    for tensor in before:
        held.add(tensor, counted=False)

    def keep(tensor: Tensor) -> Tensor:
        held.add(tensor, counted=True)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield held
