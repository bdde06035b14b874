"""The last layer computes the rows that are read: how many pass its parts, and that nobody sees a difference."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch
from peft import LoraConfig, get_peft_model

from medpref.engine.edges import find_edges
from medpref.engine.forward import hidden_states, plan_for
from medpref.engine.images import ImageStore
from medpref.engine.last import NARROWED, Read, narrow_last, narrows
from medpref.engine.lora import fuse_lora
from medpref.engine.score import score
from medpref.models.policy import load_policy
from medpref.objectives.scores import Needs

from .plain import CC, CR, FAMILIES, OTHERS, XC, encode_all, gradients, relative, tiny_policy

NEEDS = Needs(branches=frozenset({CC, CR, XC}))


def layers_of(policy):
    return policy.base.get_submodule(policy.family.language).layers


def lines_of(encoded):
    return list({line.key: line for pair in encoded for line in pair.branches.values()}.values())


@pytest.mark.parametrize("backend", ["dense", "cascade"])
@pytest.mark.parametrize("name", ["llava-mistral", "qwen3_vl"])
def test_only_rows_that_are_read_pass_the_last_layers_parts(name, backend, root, pairs, monkeypatch):
    policy = tiny_policy(name)
    store = ImageStore(policy)
    plan = plan_for(policy, lines_of(encode_all(policy, root, pairs, NEEDS, store)), backend)
    slots = find_edges(plan).slot
    assert 0 < len(slots) < plan.forest.nodes
    layers, passed, linear = layers_of(policy), {}, torch.nn.functional.linear

    def count(given, weight, bias=None):
        passed[id(weight)] = given.shape[:-1].numel()
        return linear(given, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", count)
    hidden_states(policy, plan, store, slots)
    inside = (*NARROWED[:2], "mlp.down_proj", "self_attn.k_proj")
    rows = [[passed[id(layer.get_submodule(part).weight)] for part in inside] for layer in (layers[0], layers[-1])]
    every = plan.layout.rows * plan.layout.capacity
    assert rows == [[every] * 4, [len(slots)] * 3 + [every]]


@pytest.mark.parametrize("name", FAMILIES + OTHERS)
@pytest.mark.parametrize("backend", ["dense", "auto"])
def test_hidden_states_and_gradients_are_those_of_a_whole_last_layer(name, backend, root, pairs, monkeypatch):
    policy = tiny_policy(name)
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, NEEDS, store)

    def read():
        scores = score(policy, encoded, NEEDS, images=store, backend=backend)
        total = sum(held.policy.sum(1).pow(2).sum() for held in scores.values())
        return total, gradients(policy, total)

    narrow, slopes = read()
    assert narrows(layers_of(policy)[-1])
    monkeypatch.setattr("medpref.engine.attention.narrow_last", lambda policy, read: {})
    whole, expected = read()
    assert abs((narrow - whole).item()) <= 1e-12 * abs(whole.item())
    assert relative(slopes, expected) <= 1e-10


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_read_the_same_rows(dora, root, pairs, monkeypatch):
    policy = tiny_policy("llava-mistral")
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=policy.family.lora_targets, init_lora_weights=dora, use_dora=dora)
    policy = dataclasses.replace(policy, model=get_peft_model(policy.model, config).double())
    for name, value in policy.model.named_parameters():
        if "lora_B" in name:
            value.data.normal_(0, 0.1)
    fuse_lora(policy.model)
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, NEEDS, store)

    def read():
        needs = Needs(branches=NEEDS.branches, reference=NEEDS.branches)
        scores = score(policy, encoded, needs, images=store, reference="online")
        gaps = [held.policy - held.reference for held in scores.values()]
        total = sum(gap.sum(1).pow(2).sum() for gap in gaps)
        return torch.cat([gap.flatten() for gap in gaps]), gradients(policy, total)

    narrow, slopes = read()
    assert any("layers.1." in name and "lora_" in name and value.any() for name, value in slopes.items())
    monkeypatch.setattr("medpref.engine.attention.narrow_last", lambda policy, read: {})
    whole, expected = read()
    assert narrow.abs().max() > 0.01
    torch.testing.assert_close(narrow, whole, rtol=0, atol=1e-11)
    assert relative(slopes, expected) <= 1e-10


def test_a_layer_of_other_parts_is_left_whole():
    policy = tiny_policy("llava-mistral")
    layer = layers_of(policy)[-1]
    layer.mixer, layer.mlp = layer.mlp, None
    kind = type(layer)
    assert narrow_last(policy, Read(torch.tensor([0]))) == {}
    assert type(layer) is kind


def test_a_layer_keeps_its_name_parameters_and_can_be_copied():
    policy = load_policy("tiny:llava-mistral@random")
    before = type(layers_of(policy)[-1]), list(policy.base.state_dict())
    for _ in range(2):
        assert set(narrow_last(policy, Read(torch.tensor([0])))) == {"read"}
    layer = layers_of(policy)[-1]
    assert isinstance(layer, before[0])
    assert type(layer).__name__ == before[0].__name__
    assert type(layer).__mro__.count(before[0]) == 1
    assert list(policy.base.state_dict()) == before[1]
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(twin) is type(layer)
        for name, value in layer.state_dict().items():
            assert torch.equal(twin.state_dict()[name], value)


def test_a_parts_own_forward_is_put_back(root, pairs):
    policy = tiny_policy("llava-mistral")
    store = ImageStore(policy)
    layer, calls = layers_of(policy)[-1], []
    before = layer.mlp.forward

    def mine(hidden):
        calls.append(hidden.shape[1])
        return before(hidden)

    layer.mlp.forward = mine
    encoded = encode_all(policy, root, pairs, NEEDS, store)
    for _ in range(2):
        score(policy, encoded, NEEDS, images=store)
    assert len(calls) == 2
    assert layer.mlp.forward is mine
    assert "forward" not in vars(layer.self_attn.q_proj)
