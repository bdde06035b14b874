"""Attention back ends behind one seam: which one reads a plan, and how a plan reaches transformers' layers.

* ``dense``: a boolean mask a row through SDPA, one tree a row where that is less work. Any device and dtype, any family.
* ``cascade``: a packed row in parts (``cascade.py``). CPU; the default there where it is predicted to be less work.
* ``flex``: FlexAttention with a block mask made from the same predicate, compiled. CUDA.
* ``plain``: no sharing, one sequence a row: the oracle, and the fallback.

``cascade`` and ``flex`` are called through transformers' attention interface under the name ``medpref``, which without
a ``trie`` argument is SDPA. It stays set on the language model's configuration, because a checkpointed layer is run
again during backward, outside any block of ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from medpref.engine.cascade import Parts, cascade, find_branches, find_trunks
from medpref.engine.flex import Blocks, flex
from medpref.engine.trie import Forest
from medpref.errors import RecipeError, nearest
from medpref.models.policy import Policy

NAME = "medpref"
BACKENDS = ("auto", "dense", "cascade", "flex", "plain")
CALL_COST = 60_000.0
"""What one more kernel call costs, in the planner's unit (multiply-adds a head width wide), measured on two cores."""


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **extra: Any
) -> tuple[Tensor, None]:
    """transformers' attention interface: ``[batch, head, token, width]`` in, ``[batch, token, head, width]`` out."""
    trie = extra.pop("trie", None)
    if trie is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **extra)
    groups = query.shape[1] // key.shape[1]
    scale = float(extra["scaling"]) if extra.get("scaling") is not None else query.shape[-1] ** -0.5
    if isinstance(trie, Parts):
        out = cascade(query, repeat_kv(key, groups), repeat_kv(value, groups), trie, scale)
    else:
        out = flex(query, key, value, trie, scale)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


def open_seam(policy: Policy) -> None:
    """Let the policy's language model call :func:`attend`."""
    policy.base.config.get_text_config()._attn_implementation = NAME


def choose_backend(policy: Policy, forest: Forest, asked: str, *, dense_work: float, width: int) -> str:
    """The back end that reads a plan; RecipeError where the one asked for cannot."""
    if asked not in BACKENDS:
        raise RecipeError(
            "attention back end", given=repr(asked), expected="a known one", todo=nearest(asked, BACKENDS)
        )
    device = policy.base.device.type
    if asked in ("dense", "plain"):
        return asked
    reason = _cannot_pack(policy, forest)
    if asked == "auto":
        return "cascade" if device == "cpu" and not reason and packed_work(forest, width) < dense_work else "dense"
    if device != {"cascade": "cpu", "flex": "cuda"}[asked]:
        reason = f"a model on {device}"
    if reason:
        raise RecipeError(
            f"attention back end {asked!r}",
            given=reason,
            expected="full causal attention, on the CPU for cascade and on CUDA for flex",
            todo="use auto or dense",
        )
    return asked


def _cannot_pack(policy: Policy, forest: Forest) -> str:
    """Why a packed row cannot stand for this model's own mask; empty where it can."""
    config = policy.base.config.get_text_config()
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if policy.family.bidirectional_images:
        return "a family whose image tokens see each other both ways"
    if window is not None and int(forest.depth.max()) >= window:
        return f"a sliding window of {window} tokens"
    if getattr(config, "attn_logit_softcapping", None) is not None:
        return "soft-capped attention"
    return "" if config._attn_implementation in ("sdpa", NAME) else f"{config._attn_implementation} attention"


def packed_work(forest: Forest, width: int) -> float:
    """Predicted work of a forest as one packed row in parts, in the unit of ``layout.row_work``."""
    work, trunks, branches = 12.0 * width * forest.nodes, find_trunks(forest), find_branches(forest)
    for start, middle, end in trunks:
        trunk = middle - start
        work += trunk * trunk + 2.0 * trunk * (end - middle)
    work += sum(2.0 * (end - start) ** 2 for start, end in branches)
    return work + 2 * CALL_COST * len(trunks) / max(width, 1)


def no_mask(device: torch.device) -> Tensor:
    """What stands in for the mask when the plan itself says who sees whom."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


def wants_plan(backend: str) -> bool:
    """Whether a back end reads a packed row by its plan instead of by a mask."""
    return backend in ("cascade", "flex")


__all__ = ["BACKENDS", "Blocks", "Parts", "attend", "choose_backend", "no_mask", "open_seam", "wants_plan"]
