"""The fused LoRA linear is PEFT's, value and gradient, and steps aside wherever it does not know better."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from medpref.engine.lora import FusedLinear, fuse_lora


def wrapped(*, bias: bool = True, dtype: torch.dtype = torch.float64, seed: int = 0, **config: object) -> PeftModel:
    """Two linears with adapters whose ``B`` is not zero, so that every gradient is there."""
    torch.manual_seed(seed)
    plain = nn.Sequential(nn.Linear(6, 9, bias=bias), nn.SiLU(), nn.Linear(9, 5, bias=bias)).to(dtype)
    options = {"r": 3, "lora_alpha": 5, "target_modules": ["0", "2"], **config}
    model = get_peft_model(plain, LoraConfig(**options), autocast_adapter_dtype=False)
    for name, value in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(value)
    return model


def read(model: PeftModel, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Output, and the gradients of the sum of its squares to the input and every trained weight."""
    x = x.clone().requires_grad_(True)
    model.zero_grad()
    out = model(x)
    (out**2).sum().backward()
    grads = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    assert x.grad is not None
    return out.detach(), {"x": x.grad, **grads}


def assert_same(first: PeftModel, second: PeftModel, x: Tensor, **near: float) -> None:
    (out, grads), (wanted, expected) = read(second, x), read(first, x)
    torch.testing.assert_close(out, wanted, **near)
    assert grads.keys() == expected.keys()
    for name in grads:
        torch.testing.assert_close(grads[name], expected[name], **near)


@given(
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=2),
    bias=st.booleans(),
    rslora=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None, max_examples=25)
def test_values_and_gradients_are_pefts(shape: list[int], bias: bool, rslora: bool, seed: int) -> None:
    model = wrapped(bias=bias, use_rslora=rslora, seed=seed)
    fused = copy.deepcopy(model)
    assert fuse_lora(fused) == 2
    x = torch.randn(*shape, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert_same(model, fused, x, rtol=1e-10, atol=1e-10)


def test_by_hand() -> None:
    """W = 2, A = 3, B = 5, s = alpha / r = 0.5: out = (2 + 0.5 * 15) x; its derivatives at x = 7 with g = 1."""
    model = get_peft_model(
        nn.Sequential(nn.Linear(1, 1, bias=False)), LoraConfig(r=2, lora_alpha=1, target_modules=["0"])
    )
    fuse_lora(model)
    with torch.no_grad():
        for name, value in model.named_parameters():
            kind = next((number for part, number in (("lora_A", 3.0), ("lora_B", 5.0)) if part in name), 2.0)
            value.copy_(torch.full_like(value, kind))
            if "lora_A" in name:
                value[1] = 0.0
    x = torch.tensor([[7.0]], requires_grad=True)
    out = model(x)
    out.sum().backward()
    grads = {name.split(".")[-3]: value.grad for name, value in model.named_parameters() if value.requires_grad}
    assert out.item() == pytest.approx(9.5 * 7)
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(9.5)
    assert grads["lora_A"].flatten().tolist() == pytest.approx([0.5 * 5 * 7, 0.5 * 5 * 7])
    assert grads["lora_B"].flatten().tolist() == pytest.approx([0.5 * 3 * 7, 0.0])


def taken(model: PeftModel, x: Tensor) -> list[bool]:
    """Which linears take the fused path for this input."""
    return [part._alone(x) is not None for part in model.modules() if isinstance(part, FusedLinear)]


@pytest.mark.parametrize(
    ("config", "fused"),
    [({}, True), ({"lora_dropout": 0.5}, False), ({"use_dora": True}, False), ({"lora_bias": True}, False)],
)
def test_what_it_does_not_cover_goes_through_peft(config: dict[str, object], fused: bool) -> None:
    model = wrapped(**config).train()
    other = copy.deepcopy(model)
    fuse_lora(other)
    x = torch.randn(4, 6, dtype=torch.float64)
    assert taken(other, x) == [fused, fused]
    torch.manual_seed(3)
    wanted = model(x)
    torch.manual_seed(3)
    torch.testing.assert_close(other(x), wanted)
    assert all(taken(other.eval(), x)) == (fused or "lora_dropout" in config)


def test_adapters_off_merged_or_in_another_dtype() -> None:
    model = wrapped(dtype=torch.float32)
    fuse_lora(model)
    x = torch.randn(4, 6)
    with_adapters = model(x)
    with model.disable_adapter():
        assert not any(taken(model, x))
        without = model(x)
    assert not torch.allclose(with_adapters, without)
    torch.testing.assert_close(model.merge_and_unload()(x), with_adapters, rtol=1e-5, atol=1e-5)
    mixed = wrapped(dtype=torch.bfloat16)
    for name, value in mixed.named_parameters():
        if "lora_" in name:
            value.data = value.data.float()
    fuse_lora(mixed)
    assert not any(taken(mixed, x.bfloat16()))
    assert mixed(x.bfloat16()).dtype == torch.bfloat16


def test_two_adapters_at_once_and_a_trained_weight_go_through_peft() -> None:
    model = wrapped()
    model.add_adapter("second", LoraConfig(r=2, target_modules=["0", "2"]))
    fuse_lora(model)
    x = torch.randn(2, 6, dtype=torch.float64)
    assert all(taken(model, x))
    model.base_model.set_adapter(["default", "second"])
    assert not any(taken(model, x))
    model.base_model.set_adapter("default")
    model.base_model.model[0].base_layer.weight.requires_grad_(True)
    assert taken(model, x) == [False, True]


def test_a_hook_on_the_base_is_called() -> None:
    model = wrapped()
    fuse_lora(model)
    seen: list[int] = []
    model.base_model.model[0].base_layer.register_forward_hook(lambda *_: seen.append(1))
    model(torch.randn(2, 6, dtype=torch.float64))
    assert seen == [1]


def test_files_are_pefts(tmp_path: Path) -> None:
    model = wrapped()
    names = [name for name, _ in model.named_parameters()]
    fuse_lora(model)
    assert [name for name, _ in model.named_parameters()] == names
    model.save_pretrained(str(tmp_path))
    assert (tmp_path / "adapter_config.json").exists()


def test_with_activation_checkpointing() -> None:
    model = wrapped()
    fused = copy.deepcopy(model)
    fuse_lora(fused)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    torch.utils.checkpoint.checkpoint(fused, x, use_reentrant=False).sum().backward()
    again = x.detach().clone().requires_grad_(True)
    model(again).sum().backward()
    torch.testing.assert_close(x.grad, again.grad)


def test_on_the_meta_device_and_under_autocast() -> None:
    model = wrapped(dtype=torch.float32)
    fuse_lora(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not any(taken(model, torch.randn(2, 6)))
    model.to("meta")
    x = torch.empty(2, 6, device="meta")
    assert all(taken(model, x))
    assert model(x).shape == (2, 5)
