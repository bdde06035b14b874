"""The last layer computes the rows that are read: how many pass its parts, and that nobody sees a difference."""

from __future__ import annotations

import copy

import pytest
import torch

from medpref.engine.edges import find_edges
from medpref.engine.forward import hidden_states, plan_for
from medpref.engine.images import ImageStore
from medpref.engine.last import NARROWED, Read, narrow_last, narrows
from medpref.engine.score import score
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


def test_a_layer_of_other_parts_is_left_whole():
    policy = tiny_policy("llava-mistral")
    layer = layers_of(policy)[-1]
    layer.mixer, layer.mlp = layer.mlp, None
    kind = type(layer)
    assert narrow_last(policy, Read(torch.tensor([0]))) == {}
    assert type(layer) is kind


def test_a_layer_keeps_its_name_parameters_and_can_be_copied():
    policy = tiny_policy("llava-mistral")
    before = type(layers_of(policy)[-1]), list(policy.base.state_dict())
    for _ in range(2):
        assert set(narrow_last(policy, Read(torch.tensor([0])))) == {"read"}
    layer = layers_of(policy)[-1]
    assert isinstance(layer, before[0])
    assert type(layer).__name__ == before[0].__name__
    assert type(layer).__mro__.count(before[0]) == 1
    assert list(policy.base.state_dict()) == before[1]
    assert type(copy.deepcopy(layer)) is type(layer)
    assert "forward" not in vars(layer.mlp)
