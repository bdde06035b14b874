"""What is trained: a LoRA adapter on the language model, or the weights themselves; the rest is frozen."""

from __future__ import annotations

from dataclasses import replace

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from medpref.engine.lora import fuse_lora
from medpref.models.policy import Policy
from medpref.models.quiet import wrapping
from medpref.recipe import Train
from medpref.seeds import derive_seed


def prepare(policy: Policy, train: Train, *, seed: int) -> Policy:
    """The policy with its trainable parameters chosen as ``train`` says; adapters start from the run's seed."""
    if train.lora is not None:
        return _with_lora(policy, train, seed=seed)
    for parameter in policy.model.parameters():
        parameter.requires_grad_(True)
    if train.freeze_tower:
        _freeze(policy.family.tower_parameters(policy.base))
    if train.freeze_projector:
        _freeze(policy.family.projector_parameters(policy.base))
    return policy


def _with_lora(policy: Policy, train: Train, *, seed: int) -> Policy:
    lora = train.lora
    assert lora is not None
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT takes fractions, its annotation does not say so
        lora_dropout=lora.dropout,
        target_modules=lora.targets or policy.family.lora_targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        bias="none",
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(derive_seed(seed, "adapter"))
    try:
        with wrapping():
            model: PeftModel = get_peft_model(policy.model, config)
    finally:
        torch.random.set_rng_state(state)
    fuse_lora(model)
    return replace(policy, model=model)


def _freeze(parameters: object) -> None:
    for parameter in parameters:  # type: ignore[attr-defined]
        parameter.requires_grad_(False)
