"""Real transformers architectures small enough for two CPU cores, and the pretrained bases that ship with medpref.

``tiny:llava-mistral`` has the shape of LLaVA-Med, ``tiny:llava-qwen2`` of HuatuoGPT-Vision, ``tiny:qwen2_5_vl`` of
Qwen2.5-VL. Each has 1-3 million parameters and gives an image 64 tokens. The shipped bases were trained by us on
synthetic phantoms (``make phantom-base``); they know nothing about patients. The other names exist with random weights
only, to test their families.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medpref.errors import ModelError, nearest
from medpref.models.quiet import quiet
from medpref.models.tiny_others import OTHERS
from medpref.models.tiny_shipped import Built, llava_mistral, llava_qwen2, qwen2_5_vl

BASES = Path(__file__).parent / "bases"
SHIPPED: dict[str, Callable[[], Built]] = {
    "llava-mistral": llava_mistral,
    "llava-qwen2": llava_qwen2,
    "qwen2_5_vl": qwen2_5_vl,
}
BUILDERS: dict[str, Callable[[], Built]] = {**SHIPPED, **OTHERS}


def build_tiny(spec: str) -> Built:
    """Model and processor of ``tiny:NAME@random`` or ``tiny:NAME@random:SEED``, the same for the same seed."""
    name, _, how = spec.removeprefix("tiny:").partition("@")
    word, _, seed = how.partition(":")
    if word != "random" or not (seed or "0").isdigit():
        raise ModelError(spec, given=f"@{how}", expected="@random or @random:SEED", todo="correct the suffix")
    builder = BUILDERS[_known(name, BUILDERS, where=spec)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed or "0"))
        model, processor = builder()
    return model.eval(), processor


def _known(name: str, names: Iterable[str], *, where: str) -> str:
    """``name`` if it is among ``names``; ModelError with the nearest ones."""
    if name not in names:
        raise ModelError(where, given=f"tiny model {name!r}", expected="a known one", todo=nearest(name, names))
    return name


def base_folder(spec: str) -> Path:
    """The folder of a shipped pretrained base, ``tiny:NAME``."""
    folder = BASES / _known(spec.removeprefix("tiny:"), SHIPPED, where=spec)
    if not (folder / "model.safetensors").exists():
        raise ModelError(
            spec,
            given=f"no weights in {folder}",
            expected="the pretrained base",
            todo=f"make it with `make phantom-base`, or use {spec}@random",
        )
    return folder


def save_base(policy: Any, folder: Path) -> None:
    """Write a policy in half precision, as the shipped bases are (half the bytes; it is read back as float32)."""
    halves: dict[int, Tensor] = {}
    state = policy.model.state_dict()
    half = {name: halves.setdefault(value.data_ptr(), value.to(torch.float16)) for name, value in state.items()}
    with quiet():
        policy.model.save_pretrained(str(folder), state_dict=half)
    policy.processor.save_pretrained(folder)
