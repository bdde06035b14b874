"""A plan through the language model: embeddings in, the hidden states that are read out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from medpref.engine import counters
from medpref.engine.attention import arrange, describe
from medpref.engine.encode import EncodedBranch
from medpref.engine.images import ImageStore
from medpref.engine.layout import Plan, make_plan
from medpref.engine.trie import Array
from medpref.errors import ModelError
from medpref.models.policy import Policy


def plan_for(policy: Policy, lines: Sequence[EncodedBranch], backend: str) -> Plan:
    """The plan of some distinct branches for a policy and an attention back end."""
    base = policy.base
    plan = make_plan(
        lines,
        image_token=policy.family.image_token_id(base),
        share=backend != "plain",
        arrange=partial(arrange, policy, asked=backend, width=base.get_input_embeddings().weight.shape[1]),
    )
    asked = sum(len(line.prompt) + len(line.reply_ids) for line in lines)
    counters.add(tokens_asked=asked, tokens_computed=plan.forest.nodes)
    return plan


def hidden_states(policy: Policy, plan: Plan, images: ImageStore, slots: Array) -> Tensor:
    """Final hidden states ``[slot, width]`` at some of the plan's slots, which ``plan.layout.slot`` gives by node.

    Other rows are not computed in the last layer, except by the plain back end, which is the oracle.
    """
    layout, family, base = plan.layout, policy.family, policy.base
    device = base.device
    features = images.features(plan.studies, plan.study_sizes)
    order = layout.feature[layout.feature >= 0]
    if len(order) != len(features) or (order != np.arange(len(order))).any():
        features = features[torch.as_tensor(order, device=features.device)]
    ids = torch.as_tensor(layout.tokens, device=device)
    embeds = family.embed(base, ids.flatten(), features.to(device))
    rows = torch.as_tensor(slots, device=device)
    mask, extra = describe(plan, policy, rows)
    positions = torch.as_tensor(layout.positions, device=device)
    hidden = family.hidden(policy.model, embeds.view(*ids.shape, -1), mask, positions, ids=ids, **extra)
    counters.add(slots=ids.numel())
    return hidden.flatten(0, 1)[rows]


@contextlib.contextmanager
def as_reference(policy: Policy) -> Iterator[None]:
    """Inside, the policy is its reference: adapters off, no gradients, no dropout."""
    model: Any = policy.model
    if not hasattr(model, "disable_adapter"):
        raise ModelError(
            "reference 'online'",
            given="a policy without adapters, all of whose weights are trained",
            expected="a policy with LoRA adapters, whose reference is the adapters switched off",
            todo="build a ReferenceCache before the first step",
        )
    training = model.training
    with torch.no_grad(), model.disable_adapter():
        model.eval()
        try:
            yield
        finally:
            model.train(training)


def head_weight(policy: Policy) -> Tensor:
    """The vocabulary matrix; ModelError where the logits are not just ``hidden @ weight.T``."""
    base = policy.base
    head = policy.family.head(base)
    cap = getattr(base.config.get_text_config(), "final_logit_softcapping", None)
    odd = {"a bias": getattr(head, "bias", None) is not None, "an adapter": isinstance(head, BaseTunerLayer)}
    odd["a soft cap"] = cap is not None
    for what, there in odd.items():
        if there:
            raise ModelError(
                policy.spec,
                given=f"a vocabulary head with {what}",
                expected="a plain linear head",
                todo="leave the head out of the adapter's targets, or choose another model",
            )
    return head.weight
