"""One optimiser step watched instead of timed: FLOPs, tokens, tower calls, vocabulary products, bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from measure.flops import Flops
from measure.memory import Held, LiveBytes, saved_bytes
from measure.rounds import synchronise
from medpref.models.bare import bare


@dataclass
class Passes:
    """Positions that went through the decoder's first layer and images through the tower's, recomputation included."""

    tokens: int = 0
    tower_calls: int = 0
    tower_images: int = 0


@dataclass(frozen=True)
class Watched:
    """What one arm did for one round. Bytes are on top of weights, optimiser states and held features."""

    tokens: int
    tower_calls: int
    tower_images: int
    flops: int
    head_products: float
    saved_bytes: int
    peak_bytes: int
    kernels: dict[str, int]

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


@contextlib.contextmanager
def passes(model: Any) -> Iterator[Passes]:
    """Count inside the block. The hooks sit inside the first layers, where a checkpoint's second run passes too."""
    named = dict(bare(model).named_modules())
    tower = next(name for name in named if name.startswith("model.vision_tower") and name.endswith("layers.0.mlp"))
    seen = Passes()

    def decoder(_: Any, given: Any) -> None:
        seen.tokens += given[0].shape[:-1].numel()

    def vision(_: Any, given: Any) -> None:
        seen.tower_calls += 1
        seen.tower_images += len(given[0])

    handles = [named["model.language_model.layers.0.mlp"].register_forward_pre_hook(decoder)]
    handles.append(named[tower].register_forward_pre_hook(vision))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def watch(model: Any, work: Callable[[], float], *, flops: float | None = None) -> Watched:
    """What ``work`` does, with gradients left in place.

    Where ``flops`` are given (compiled attention, which no dispatch mode can look into), they and nothing else of the
    work is taken as known, and only tokens, tower calls and CUDA's peak are observed.
    """
    base = bare(model)
    cuda = base.device.type == "cuda"
    if cuda:
        synchronise()
        torch.cuda.reset_peak_memory_stats()
        resident = torch.cuda.memory_allocated()
    counted = Flops(base.get_output_embeddings().weight)
    with contextlib.ExitStack() as modes:
        seen = modes.enter_context(passes(model))
        saved, live = Held(), LiveBytes()
        if flops is None:
            saved = modes.enter_context(saved_bytes(model.parameters()))
            modes.enter_context(live)
            modes.enter_context(counted)
        work()
    peak = torch.cuda.max_memory_allocated() - resident if cuda else live.held.peak
    return Watched(
        tokens=seen.tokens,
        tower_calls=seen.tower_calls,
        tower_images=seen.tower_images,
        flops=counted.total if flops is None else round(flops),
        head_products=round(counted.head_products, 1),
        saved_bytes=saved.peak,
        peak_bytes=peak,
        kernels=dict(counted.by_kernel),
    )


def gradients_of(model: Any) -> dict[str, Tensor]:
    """Gradients by parameter name, copied; the model's own are cleared."""
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The distance of two gradients over the norm of the first."""
    assert first.keys() == second.keys(), sorted(first.keys() ^ second.keys())[:3]
    gap = sum(float((first[name].double() - second[name].double()).pow(2).sum()) for name in first)
    return (gap / sum(float(value.double().pow(2).sum()) for value in first.values())) ** 0.5
