"""A policy without weights: every tensor on the meta device, enough to count what training it would take."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText

from medpref.errors import ModelError
from medpref.models.families import family_of
from medpref.models.policy import Policy
from medpref.models.processor import StillProcessor, load_processor
from medpref.models.quiet import quiet
from medpref.models.tiny import build_tiny
from medpref.store import read_json


def outline_of(policy: Policy) -> Policy:
    """The policy with its weights (and adapters) on the meta device; the policy itself is left alone."""
    known: dict[int, Any] = {}
    for value in (*policy.model.parameters(), *policy.model.buffers()):
        empty = value.detach().to("meta")
        known[id(value)] = nn.Parameter(empty, value.requires_grad) if isinstance(value, nn.Parameter) else empty
    return Policy(copy.deepcopy(policy.model, known), policy.processor, policy.family, policy.spec)


def load_outline(spec: str, *, dtype: str = "float32", trust_remote_code: bool = False) -> Policy:
    """The outline of what ``load_policy`` would load, from its configuration alone; ModelError where there is none.

    An adapter's folder is outlined as its base. Where no processor can be read, ``processor`` is None: lengths must
    then come from statistics.
    """
    kind = getattr(torch, dtype)
    if spec.startswith("tiny:"):
        model, processor = build_tiny(spec if "@" in spec else f"{spec}@random")
        policy = Policy(model.to(kind), processor, family_of(model.config.model_type, where=spec), spec)
        return outline_of(policy)
    source = _base(Path(spec.removeprefix("hf:")).expanduser())
    if source.startswith("tiny:"):
        return load_outline(source, dtype=dtype)
    remote = {"trust_remote_code": True} if trust_remote_code else {}
    try:
        with quiet(), torch.device("meta"):
            config = AutoConfig.from_pretrained(source, **remote)
            family = family_of(config.model_type, where=spec)
            model = AutoModelForImageTextToText.from_config(config, dtype=kind, **remote)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(
            spec,
            given=str(error).strip().splitlines()[0],
            expected="tiny:NAME, hf:ID or a folder with config.json",
            todo="check the path; the weights themselves are not needed",
        ) from error
    return Policy(model.eval(), _processor(source, family.fields(config), remote), family, spec)


def _base(folder: Path) -> str:
    """The base behind any adapters."""
    while (folder / "adapter_config.json").is_file():
        named = str(read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "")
        if not Path(named).is_dir():
            return named
        folder = Path(named)
    return str(folder)


def _processor(source: str, fields: dict[str, Any], remote: dict[str, Any]) -> StillProcessor:
    try:
        with quiet():
            return load_processor(source, fields, **remote)
    except (OSError, ValueError):
        return cast(StillProcessor, None)
