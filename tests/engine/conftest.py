from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
from transformers.models.qwen2_vl import modeling_qwen2_vl
from transformers.models.qwen3_vl import modeling_qwen3_vl

from medpref.schema import PreferencePair

from .plain import draw_images, draw_pairs


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="session")
def pairs(root: Path) -> list[PreferencePair]:
    return draw_pairs(draw_images(root))


def _rotate_in_own_dtype(query, key, cos, sin):
    cos, sin = cos.unsqueeze(-2).to(query.dtype), sin.unsqueeze(-2).to(query.dtype)

    def half(value):
        first, second = value.chunk(2, dim=-1)
        return torch.cat((-second, first), dim=-1)

    return query * cos + half(query) * sin, key * cos + half(key) * sin


@pytest.fixture(autouse=True)
def float64_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers casts the tower's rotary embedding to float32, forward and backward; the oracle must not."""
    for module in (modeling_qwen2_vl, modeling_qwen2_5_vl, modeling_qwen3_vl):
        monkeypatch.setattr(module, "apply_rotary_pos_emb_vision", _rotate_in_own_dtype)
