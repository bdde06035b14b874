"""The last decoder layer at the rows that are read, and nowhere else.

A token's hidden state after the last layer is looked at only where the head reads it: before the tokens of a reply.
Everywhere else the last layer owes the others keys and values, and nothing more: its query and output projections and
its MLP are left out there, and under the cascade back end its queries' attention (other kernels take all queries).
In a model of n layers that saves almost one n-th of the work of images and prompts, forward and backward, and changes
no value that anybody reads. Rows that are not read come out wrong, so :func:`narrow_last` is for a caller that takes
the rows it named and drops the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from medpref.models.policy import Policy

NARROWED = ("self_attn.q_proj", "self_attn.o_proj", "mlp")
"""The parts of a decoder layer that are given only the rows read."""


@dataclass(frozen=True, eq=False)
class Read:
    """``rows``: the flat slots read; ``trie``: what the last layer's attention is given in place of the others'."""

    rows: Tensor
    trie: Any = None


def narrow_last(policy: Policy, read: Read) -> dict[str, Any]:
    """What the language model's layers must be given so that the last one computes ``read`` only.

    Empty for a layer whose parts have other names than the known families': then every row is computed.
    """
    layer = policy.base.get_submodule(policy.family.language).layers[-1]
    if not narrows(layer):
        return {}
    if not isinstance(layer, _Narrowed):
        layer.__class__ = _narrowed(type(layer))
    return {"read": read}


def narrows(layer: nn.Module) -> bool:
    """Whether a decoder layer has the parts that :func:`narrow_last` knows."""
    attention, inner = getattr(layer, "self_attn", None), getattr(layer, "mlp", None)
    return all(hasattr(attention, name) for name in ("q_proj", "o_proj")) and hasattr(inner, "down_proj")


class _Narrowed(nn.Module):
    """What a layer's class is mixed with; its parameters and their names stay as they are, and it can be pickled."""

    whole: ClassVar[type]

    def __reduce_ex__(self, protocol: Any) -> Any:
        made: Any = super().__reduce_ex__(protocol)
        return _empty, (self.whole,), *made[2:]

    def forward(self, hidden_states: Tensor, *args: Any, read: Read | None = None, **kwargs: Any) -> Any:
        layer: Any = super().forward
        if read is None:
            return layer(hidden_states, *args, **kwargs)
        if read.trie is not None:
            kwargs["trie"] = read.trie
        with contextlib.ExitStack() as stack:
            for name in NARROWED:
                stack.enter_context(_at(self.get_submodule(name), read.rows))
            return layer(hidden_states, *args, **kwargs)


_KINDS: dict[type, type] = {}


def _narrowed(kind: type) -> type:
    """A class of the same name (transformers looks layers up by it), one for each kind of layer."""
    if kind not in _KINDS:
        _KINDS[kind] = type(kind.__name__, (_Narrowed, kind), {"__module__": kind.__module__, "whole": kind})
    return _KINDS[kind]


def _empty(kind: type) -> Any:
    made: Any = _narrowed(kind)
    return made.__new__(made)


@contextlib.contextmanager
def _at(part: nn.Module, rows: Tensor) -> Iterator[None]:
    """Inside, ``part`` computes the given flat rows; the others come out as zeros, with no gradient."""
    own = vars(part).get("forward")
    part.forward = partial(_some, part.forward, rows)  # type: ignore[method-assign]
    try:
        yield
    finally:
        if own is None:
            del part.forward
        else:
            part.forward = own  # type: ignore[method-assign]


def _some(forward: Callable[..., Tensor], rows: Tensor, hidden: Tensor) -> Tensor:
    found = forward(hidden.flatten(0, 1).index_select(0, rows).unsqueeze(0))[0]
    out = found.new_zeros(hidden.shape[0] * hidden.shape[1], found.shape[-1])
    return out.index_copy(0, rows, found).view(*hidden.shape[:2], -1)
