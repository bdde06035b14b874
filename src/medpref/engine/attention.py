"""Attention back ends behind one seam: which one reads a plan, and how a plan reaches transformers' layers.

* ``dense``: a boolean mask a row through SDPA, one tree a row where that is less work. Any device, dtype and family.
* ``cascade``: a packed row in parts (``cascade.py``). CPU; the default there where it is predicted to be less work.
* ``flex``: FlexAttention with a block mask made from the same predicate, compiled. CUDA (no backward on the CPU).
* ``plain``: no sharing, one sequence a row: the oracle, and the fallback.

``cascade`` and ``flex`` are called through transformers' attention interface under the name ``medpref``, which without
a ``trie`` argument is SDPA. It stays set on the language model's configuration, because a checkpointed layer is run
again during backward, outside any block of ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from medpref.engine.cascade import Parts, cascade, make_parts
from medpref.engine.flex import flex, make_blocks
from medpref.engine.last import Read, narrow_last
from medpref.engine.layout import Plan
from medpref.engine.planner import choose_capacity, parts_work, rows_work
from medpref.engine.trie import Forest
from medpref.errors import RecipeError, nearest
from medpref.models.policy import Policy

NAME = "medpref"
BACKENDS = ("auto", "dense", "cascade", "flex", "plain")


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **extra: Any
) -> tuple[Tensor, None]:
    """The output ``[batch, token, head, width]`` for ``[batch, head, token, width]``, as transformers' layers ask."""
    trie = extra.pop("trie", None)
    if trie is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **extra)
    groups = query.shape[1] // key.shape[1]
    scale = float(extra["scaling"]) if extra.get("scaling") is not None else query.shape[-1] ** -0.5
    if isinstance(trie, Parts):
        return cascade(query, repeat_kv(key, groups), repeat_kv(value, groups), trie, scale), None
    return flex(query, key, value, trie, scale).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


def arrange(policy: Policy, forest: Forest, asked: str, *, width: int) -> tuple[str, int]:
    """The back end that reads a forest and its row length; RecipeError where the one asked for cannot.

    ``auto`` takes what is predicted to be the least work among those that the device and the model allow.
    """
    if asked not in BACKENDS:
        raise RecipeError(
            "attention back end", given=repr(asked), expected="a known one", todo=nearest(asked, BACKENDS)
        )
    sizes = np.diff(forest.starts)
    capacity = choose_capacity(sizes, width=width)
    device, reason = policy.base.device.type, _cannot_pack(policy, forest)
    if asked == "auto":
        packs = device == "cpu" and not reason
        better = packs and parts_work(forest, width=width) < rows_work(sizes, capacity, width=width)
        return ("cascade", forest.nodes) if better else ("dense", capacity)
    if asked in ("dense", "plain"):
        return asked, capacity
    if device != {"cascade": "cpu", "flex": "cuda"}[asked]:
        reason = f"a model on {device}"
    if reason:
        raise RecipeError(
            f"attention back end {asked!r}",
            given=reason,
            expected="full causal attention, on the CPU for cascade and on CUDA for flex",
            todo="use auto or dense",
        )
    return asked, forest.nodes


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


def describe(plan: Plan, policy: Policy, rows: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """The mask that a plan's layers are given, and what else they are, where the flat slots ``rows`` are read."""
    device = policy.base.device
    if plan.backend in ("dense", "plain"):
        extra = {} if plan.backend == "plain" else narrow_last(policy, Read(rows))
        return torch.as_tensor(plan.layout.visible(), device=device).unsqueeze(1), extra
    policy.base.config.get_text_config()._attn_implementation = NAME
    trie: Parts | Any
    if plan.backend == "cascade":
        trie = make_parts(plan.forest, dtype=policy.base.dtype)
        extra = narrow_last(policy, Read(rows, trie.narrowed(rows.tolist())))
    else:
        trie = make_blocks(plan.forest, device)
        extra = narrow_last(policy, Read(rows))
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device), {"trie": trie, **extra}
