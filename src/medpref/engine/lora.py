"""LoRA linears in fewer passes over their wide outputs: the same function as PEFT's, fused.

PEFT forms ``W x``, then ``B A x``, scales it, adds it: four wide tensors, and as many in backward. Here the low-rank
product is added to ``W x`` in place, scale included, and so is its gradient to ``W' g``::

    out = x W' + s (x A') B'          dx = g W + s (g B) A          dA = s (g B)' x          dB = s g' (x A')

Whatever this does not cover (dropout while training, DoRA, several adapters, quantised or trained weights, adapters in
another dtype) goes through PEFT's own forward.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def fuse_lora(model: nn.Module) -> int:
    """Let every LoRA linear of ``model`` take the fused path where it can; returns how many there are."""
    found = [module for module in model.modules() if type(module) is Linear]
    for module in found:
        module.__class__ = FusedLinear
    return len(found)


class FusedLinear(Linear):  # type: ignore[misc]  # PEFT's classes are untyped
    """PEFT's LoRA linear with a fused forward and backward; parameters, names and files are PEFT's."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``base(x) + s B A x``, ``[..., in]`` to ``[..., out]``."""
        adapter = None if args or kwargs else self._alone(x)
        if adapter is None:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        base, down, up = self.base_layer, self.lora_A[adapter].weight, self.lora_B[adapter].weight
        return _Lora.apply(x, base.weight, base.bias, down, up, float(self.scaling[adapter]))

    def _alone(self, x: Tensor) -> str | None:
        """The one adapter at work, where it is a plain one on a plain frozen linear of the input's dtype."""
        active = [name for name in self.active_adapters if name in self.lora_A]
        base = self.base_layer
        if self.disable_adapters or self.merged or len(active) != 1 or type(base) is not nn.Linear:
            return None
        name = active[0]
        dropout, up = self.lora_dropout[name], self.lora_B[name]
        if name in self.lora_variant or up.bias is not None or _hooked(base):
            return None
        if (dropout.training and not isinstance(dropout, nn.Identity)) or _autocasting(x.device.type):
            return None
        frozen = not base.weight.requires_grad and (base.bias is None or not base.bias.requires_grad)
        alike = x.dtype == base.weight.dtype == up.weight.dtype == self.lora_A[name].weight.dtype
        return name if frozen and alike else None


def _autocasting(device: str) -> bool:
    """Whether autocast chooses the dtypes; a device that knows none (``meta``, when memory is predicted) never does."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _hooked(module: nn.Module) -> bool:
    held = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(held)


class _Lora(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        narrow = rows @ down.t()
        out = nn.functional.linear(rows, weight, bias).addmm_(narrow, up.t(), alpha=scale)
        ctx.save_for_backward(rows, narrow, weight, down, up)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        rows, narrow, weight, down, up = ctx.saved_tensors
        rising = given[0].reshape(-1, weight.shape[0])
        back = rising @ up
        grad = None
        if ctx.needs_input_grad[0]:
            grad = (rising @ weight).addmm_(back, down, alpha=ctx.scale).view(ctx.shape)
        to_down = (back.t() @ rows).mul_(ctx.scale) if ctx.needs_input_grad[3] else None
        to_up = (rising.t() @ narrow).mul_(ctx.scale) if ctx.needs_input_grad[4] else None
        return grad, None, None, to_down, to_up, None
