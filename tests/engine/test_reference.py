"""The reference: constant, equal live and cached, exact divergences from either, resumable."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from peft import LoraConfig, get_peft_model

from medpref.engine.counters import counting
from medpref.engine.images import ImageStore
from medpref.engine.pack import pack
from medpref.engine.reference import ReferenceCache, reference_key
from medpref.engine.score import score
from medpref.errors import ArtifactError, ModelError
from medpref.objectives.scores import Needs

from .plain import CC, CR, XC, XR, encode_all, full_log_probs, gradients, relative, tiny_policy

NEEDS = Needs(
    branches=frozenset({CC, CR, XC, XR}),
    reference=frozenset({CC, CR}),
    divergence=frozenset({CC, XC}),
    cross=frozenset({(CC, XC)}),
    collision=frozenset({CR}),
)


def adapted(policy, *, start=False):
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=policy.family.lora_targets, init_lora_weights=start)
    return dataclasses.replace(policy, model=get_peft_model(policy.model, config).to(policy.base.dtype))


@pytest.fixture
def world(root, pairs):
    policy = adapted(tiny_policy("llava-mistral"))
    store = ImageStore(policy)
    return policy, store, encode_all(policy, root, pairs, NEEDS, store)


def step(policy):
    draws = torch.Generator().manual_seed(5)
    for parameter in policy.model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn(parameter.shape, generator=draws).to(parameter.dtype) * 0.05)


def test_divergences_equal_full_logits_with_gradients(world):
    policy, store, encoded = world
    scores = score(policy, encoded, NEEDS, images=store, reference="online")
    number, line, other = 1, encoded[1].branches[CC], encoded[1].branches[XC]
    log_p, log_r = full_log_probs(policy, line, store), full_log_probs(policy, other, store)
    with policy.model.disable_adapter(), torch.no_grad():
        log_q = full_log_probs(policy, line, store)
    mask = scores[CC].mask[number]
    log_c = full_log_probs(policy, encoded[1].branches[CR], store)
    expected = {
        "forward": ((log_q.exp() * (log_q - log_p)).sum(-1), scores[CC].divergence.forward[number, mask]),
        "reverse": ((log_p.exp() * (log_p - log_q)).sum(-1), scores[CC].divergence.reverse[number, mask]),
        "cross": ((log_p.exp() * (log_p - log_r)).sum(-1), scores[CC].cross[XC][number, mask]),
        "collision": (log_c.exp().pow(2).sum(-1).log(), scores[CR].collision[number, scores[CR].mask[number]]),
    }
    for full, ours in expected.values():
        torch.testing.assert_close(ours, full, rtol=0, atol=1e-10)
        scale = torch.linspace(0.5, 2, len(full), dtype=torch.float64)
        ours_gradient = gradients(policy, (ours * scale).sum() + 0 * scores[CC].policy.sum())
        assert relative(ours_gradient, gradients(policy, (full * scale).sum())) < 1e-9
    asked = torch.tensor(line.reply_ids)[:, None]
    torch.testing.assert_close(scores[CC].reference[number, mask], log_q.gather(1, asked)[:, 0], rtol=0, atol=1e-10)
    assert scores[XR].reference is None
    assert scores[XR].divergence is None
    assert not scores[CC].cross[XC][2:].any()


def test_reference_does_not_move_with_the_policy(world):
    policy, store, encoded = world
    before = score(policy, encoded, NEEDS, images=store, reference="online")
    step(policy)
    after = score(policy, encoded, NEEDS, images=store, reference="online")
    for branch in (CC, CR):
        assert torch.equal(before[branch].reference, after[branch].reference)
        assert not after[branch].reference.requires_grad
    assert (before[CC].policy - after[CC].policy).abs().max() > 1e-4
    assert all(value.requires_grad for name, value in policy.model.named_parameters() if "lora_" in name)


def test_cached_equals_live_bit_for_bit_and_costs_no_reference_forward(world, tmp_path):
    policy, store, encoded = world
    live = score(policy, encoded, NEEDS, images=store, reference="online")
    cache = ReferenceCache.build(policy, encoded, NEEDS, tmp_path, images=store)
    step(policy)
    step_back = score(policy, encoded, NEEDS, images=store, reference="online")
    with counting() as counts:
        cached = score(policy, encoded, NEEDS, images=store, reference=ReferenceCache(cache.folder))
    assert counts.reference_tokens == 0
    for branch in (CC, CR):
        assert torch.equal(cached[branch].reference, live[branch].reference)
    for way in ("forward", "reverse"):
        assert torch.equal(getattr(cached[CC].divergence, way), getattr(step_back[CC].divergence, way))


def test_at_the_start_policy_equals_reference(root, pairs):
    policy = adapted(tiny_policy("llava-qwen2"), start=True)
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, NEEDS, store)
    scores = score(policy, encoded, NEEDS, images=store, reference="online")
    torch.testing.assert_close(scores[CR].policy, scores[CR].reference, rtol=0, atol=1e-12)
    assert scores[CC].divergence.forward.abs().max() < 1e-12


def test_a_killed_build_continues(world, tmp_path, monkeypatch):
    policy, store, encoded = world
    packs = pack(encoded, NEEDS, 220)
    assert len(packs) > 1
    real, calls = ReferenceCache._add, []

    def dying(self, *args, **named):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        real(self, *args, **named)

    monkeypatch.setattr(ReferenceCache, "_add", dying)
    with pytest.raises(KeyboardInterrupt):
        ReferenceCache.build(policy, encoded, NEEDS, tmp_path, images=store, max_tokens=220)
    monkeypatch.setattr(ReferenceCache, "_add", real)
    with counting() as counts:
        ReferenceCache.build(policy, encoded, NEEDS, tmp_path, images=store, max_tokens=220)
    with counting() as whole:
        cache = ReferenceCache.build(policy, encoded, NEEDS, tmp_path / "other", images=store, max_tokens=220)
    assert 0 < counts.reference_tokens < whole.reference_tokens
    with counting() as again:
        ReferenceCache.build(policy, encoded, NEEDS, tmp_path, images=store, max_tokens=220)
    assert again.reference_tokens == 0
    lines = [pair.branches[CC] for pair in encoded]
    resumed = ReferenceCache(tmp_path / cache.folder.name).lines(lines, [True] * len(lines))
    for one, other in zip(resumed, cache.lines(lines, [True] * len(lines)), strict=True):
        torch.testing.assert_close(one.hidden, other.hidden, rtol=0, atol=1e-11)


def test_key_follows_the_base_weights_and_not_the_adapter(world):
    policy, _, _ = world
    key = reference_key(policy)
    step(policy)
    assert reference_key(policy) == key
    assert reference_key(tiny_policy("llava-mistral")) == key
    next(policy.base.parameters()).data.view(-1)[0] += 1e-9
    assert reference_key(policy) != key


def test_full_fine_tuning_reads_the_starting_head(root, pairs, tmp_path):
    policy = tiny_policy("llava-mistral")
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, NEEDS, store)
    with pytest.raises(ModelError, match="adapters"):
        score(policy, encoded, NEEDS, images=store, reference="online")
    cache = ReferenceCache.build(policy, encoded, NEEDS, tmp_path, images=store)
    line = encoded[0].branches[CC]
    log_q = full_log_probs(policy, line, store).detach()
    step(policy)
    scores = score(policy, encoded, NEEDS, images=store, reference=cache)
    log_p = full_log_probs(policy, line, store)
    full = (log_q.exp() * (log_q - log_p)).sum(-1)
    ours = scores[CC].divergence.forward[0, scores[CC].mask[0]]
    torch.testing.assert_close(ours, full, rtol=0, atol=1e-10)
    assert relative(gradients(policy, ours.sum()), gradients(policy, full.sum())) < 1e-9


def test_what_was_not_cached_is_refused(world, tmp_path):
    policy, store, encoded = world
    cache = ReferenceCache.build(policy, encoded[:2], NEEDS, tmp_path, images=store)
    with pytest.raises(ArtifactError, match="no log_probs of branch clean/chosen"):
        score(policy, encoded, NEEDS, images=store, reference=cache)
    with pytest.raises(ModelError, match="no reference"):
        score(policy, encoded, NEEDS, images=store)
