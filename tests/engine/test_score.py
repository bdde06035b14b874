"""The shared layout gives what one branch at a time through the model's own forward gives: values and gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from peft import LoraConfig, get_peft_model

from medpref.engine.images import ImageStore
from medpref.engine.score import score
from medpref.objectives.scores import Needs

from .plain import CC, CR, FAMILIES, OTHERS, XC, XR, encode_all, gradients, plain_log_probs, relative, tiny_policy

ALL = Needs(branches=frozenset({CC, CR, XC, XR}))


def with_short_replies(encoded):
    """The first pair's rejected reply cut to its end token alone."""
    first = encoded[0]
    short = {
        branch: dataclasses.replace(line, reply_ids=line.reply_ids[-1:], spans=(True,)) if branch == CR else line
        for branch, line in first.branches.items()
    }
    return [dataclasses.replace(first, branches=short), *encoded[1:]]


def ramp(number, line, policy):
    """Token weights that differ everywhere, so that no two tokens can be exchanged."""
    return torch.linspace(0.3, 1.7, len(line.reply_ids), dtype=torch.float64) * (1 + number % 3)


def weighted(scores, encoded, policy):
    total = torch.zeros((), dtype=torch.float64)
    for branch, held in scores.items():
        for number, pair in enumerate(encoded):
            if branch in pair.branches:
                line = pair.branches[branch]
                total = total + (held.policy[number, held.mask[number]] * ramp(number, line, policy)).sum()
    return total


def weighted_plain(encoded, policy, store):
    total = torch.zeros((), dtype=torch.float64)
    for number, pair in enumerate(encoded):
        for line in pair.branches.values():
            total = total + (plain_log_probs(policy, line, store) * ramp(number, line, policy)).sum()
    return total


@pytest.mark.parametrize("name", FAMILIES + OTHERS)
def test_values_and_gradients_equal_the_plain_layout(name, root, pairs):
    policy = tiny_policy(name)
    store = ImageStore(policy)
    encoded = with_short_replies(encode_all(policy, root, pairs, ALL, store))
    scores = score(policy, encoded, ALL, images=store)
    for branch, held in scores.items():
        for number, pair in enumerate(encoded):
            assert bool(held.present[number]) == (branch in pair.branches)
            if branch in pair.branches:
                line = pair.branches[branch]
                assert int(held.mask[number].sum()) == len(line.reply_ids)
                assert tuple(held.spans[number, held.mask[number]].tolist()) == line.spans
                expected = plain_log_probs(policy, line, store)
                torch.testing.assert_close(held.policy[number, held.mask[number]], expected, rtol=0, atol=1e-10)
            assert not held.policy[number, ~held.mask[number]].any()
    plain = weighted_plain(encoded, policy, store)
    ours = weighted(scores, encoded, policy)
    assert abs((ours - plain).item()) <= 1e-12 * abs(plain.item())
    assert relative(gradients(policy, ours), gradients(policy, plain)) <= 1e-10


@pytest.mark.parametrize("name", ["llava-mistral", "qwen2_5_vl"])
def test_float32_is_as_near_to_float64_as_the_plain_layout_is(name, root, pairs):
    policy, oracle = tiny_policy(name, "float32"), tiny_policy(name)
    oracle.base.load_state_dict(policy.base.state_dict())
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, ALL, store)
    exact = gradients(oracle, weighted_plain(encoded, oracle, store))
    ours = relative(gradients(policy, weighted(score(policy, encoded, ALL, images=store), encoded, policy)), exact)
    plain = relative(gradients(policy, weighted_plain(encoded, policy, store)), exact)
    assert ours <= max(1e-6, 1.5 * plain)


def test_lora_gradients_equal_the_plain_layout(root, pairs):
    policy = adapted(tiny_policy("llava-mistral"))
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, ALL, store)
    ours = gradients(policy, weighted(score(policy, encoded, ALL, images=store), encoded, policy))
    assert all("lora_" in key for key in ours)
    assert relative(ours, gradients(policy, weighted_plain(encoded, policy, store))) <= 1e-10


def adapted(policy):
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=policy.family.lora_targets, init_lora_weights=False)
    model = get_peft_model(policy.model, config)
    return dataclasses.replace(policy, model=model.to(policy.base.dtype))


@pytest.mark.parametrize("name", ["llava-mistral", "qwen2_5_vl"])
def test_nothing_leaks_between_branches(name, root, pairs):
    """Exactly zero gradient from one branch's log-probability to tokens that only other branches read."""
    policy = tiny_policy(name)
    for parameter in policy.base.parameters():
        parameter.requires_grad_(False)
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, ALL, store)
    table = policy.base.get_input_embeddings()
    seen = []

    def catch(module, given, rows):
        rows = rows.detach().requires_grad_()
        seen.append((given[0].flatten(), rows))
        return rows

    handle = table.register_forward_hook(catch)
    scores = score(policy, encoded, ALL, images=store)
    handle.remove()
    (ids, rows), image = seen[-1], policy.family.image_token_id(policy.base)
    for number in (0, 2, 3):
        reached = torch.autograd.grad(scores[CC].policy[number].sum(), rows, retain_graph=True)[0].flatten(0, -2)
        read = reached.abs().sum(-1) > 0
        line = encoded[number].branches[CC]
        text = [token for token in line.prompt + line.reply_ids[:-1] if token != image]
        assert sorted(ids[read].tolist()) == sorted(text)
