"""Images once: cached features equal computed ones bit for bit, and anything that makes them differ must miss."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors import SafetensorError

from medpref.engine.counters import counting
from medpref.engine.features import Budgeted, FeatureFiles
from medpref.engine.images import ImageStore
from medpref.engine.score import score
from medpref.errors import DataError
from medpref.objectives.scores import Needs
from medpref.schema import ImageRef
from medpref.store import file_digest

from .plain import CC, CR, XC, encode_all, gradients, relative, tiny_policy

NEEDS = Needs(branches=frozenset({CC, CR, XC}))


def frozen(name, dtype="float32"):
    policy = tiny_policy(name, dtype)
    for parameter in (*policy.family.tower_parameters(policy.base), *policy.family.projector_parameters(policy.base)):
        parameter.requires_grad_(False)
    return policy


def image(folder, seed=0):
    path = folder / f"{seed}.png"
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (80, 80), dtype=np.uint8)).save(path)
    return ImageRef(path=path.name, sha256=file_digest(path))


def features(policy, refs, root, cache=None):
    store = ImageStore(policy, cache=cache)
    studies = [store.add([ref], root) for ref in refs]
    token = policy.family.image_token_id(policy.base)
    sizes = [store.prompt(study, "Why?")[0].count(token) for study in studies]
    with counting() as counts:
        return store.features(studies, sizes), counts


@pytest.mark.parametrize("name", ["llava-mistral", "qwen2_5_vl"])
def test_a_hit_equals_recomputation_bit_for_bit(name, tmp_path):
    policy, refs = frozen(name), [image(tmp_path, seed) for seed in (1, 2)]
    computed, cold = features(policy, refs, tmp_path)
    _, filling = features(policy, refs, tmp_path, tmp_path / "cache")
    held, warm = features(policy, refs[::-1], tmp_path, tmp_path / "cache")
    assert (cold.tower_calls, filling.tower_calls, warm.tower_calls) == (2, 2, 0)
    half = len(computed) // 2
    assert torch.equal(torch.cat((held[half:], held[:half])), computed)


@pytest.mark.parametrize("what", ["pixel", "weight", "processor", "layer", "dtype"])
def test_a_changed_input_misses(what, tmp_path):
    policy, ref, cache = frozen("llava-mistral"), image(tmp_path, 1), tmp_path / "cache"
    before, _ = features(policy, [ref], tmp_path, cache)
    if what == "pixel":
        path = tmp_path / ref.path
        pixels = np.array(Image.open(path))
        pixels[3, 3] ^= 1
        Image.fromarray(pixels).save(path)
        ref = ImageRef(path=ref.path, sha256=file_digest(path))
    elif what == "weight":
        policy.family.projector_parameters(policy.base)[0].data.view(-1)[0] += 1e-3
    elif what == "processor":
        policy.processor.image_processor.image_mean = [0.5, 0.5, 0.4]
    elif what == "layer":
        policy.base.config.vision_feature_layer = -2
    else:
        policy.base.to(torch.bfloat16)
    after, counts = features(policy, [ref], tmp_path, cache)
    assert counts.tower_calls == 1
    assert after.dtype != before.dtype or not torch.equal(after, before)


def test_a_weight_written_while_the_store_lives_is_noticed(tmp_path):
    policy = frozen("llava-mistral")
    store = ImageStore(policy)
    study = store.add([image(tmp_path)], tmp_path)
    size = store.prompt(study, "Why?")[0].count(policy.family.image_token_id(policy.base))
    before = store.features([study], [size])
    with torch.no_grad():
        policy.family.tower_parameters(policy.base)[0].add_(0.1)
    assert not torch.equal(store.features([study], [size]), before)


def test_each_image_is_decoded_once_and_encoded_once(root, pairs):
    policy = frozen("llava-mistral")
    store = ImageStore(policy)
    with counting() as counts:
        encoded = encode_all(policy, root, pairs, NEEDS, store)
        for _ in range(2):
            score(policy, encoded, NEEDS, images=store)
    assert (counts.images_decoded, counts.tower_calls) == (3, 3)


@pytest.mark.parametrize("name", ["llava-mistral", "qwen2_5_vl"])
def test_a_trained_tower_is_called_once_a_step_with_gradients(name, root, pairs):
    policy = tiny_policy(name)
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, NEEDS, store)
    with counting() as counts:
        live = score(policy, encoded, NEEDS, images=store)
    assert (counts.tower_calls, counts.tower_studies) == (1, 3)
    reached = gradients(policy, live[CC].policy.sum())
    assert any("patch_embed" in key for key in reached)
    with torch.no_grad():
        cached = score(policy, encoded, NEEDS, images=store)
    torch.testing.assert_close(cached[CC].policy, live[CC].policy, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("name", "calls"), [("llava-mistral", 0), ("internvl", 0), ("qwen2_5_vl", 1)])
def test_a_trained_projector_reads_the_kept_output_of_a_frozen_tower(name, calls, root, pairs, tmp_path):
    """Qwen's features are reordered after the projector, so there the tower runs; without gradients of its own."""
    policy, free = tiny_policy(name), tiny_policy(name)
    for parameter in policy.family.tower_parameters(policy.base):
        parameter.requires_grad_(False)
    needs = Needs(branches=frozenset({CC, CR, XC}))
    stores = [ImageStore(one, cache=tmp_path) for one in (policy, free)]
    encoded = [encode_all(one, root, pairs, needs, store) for one, store in zip((policy, free), stores, strict=True)]
    score(policy, encoded[0], needs, images=stores[0])
    with torch.no_grad():
        policy.family.projector_parameters(policy.base)[0].mul_(1.5)
        free.family.projector_parameters(free.base)[0].mul_(1.5)
    with counting() as counts:
        ours = gradients(policy, score(policy, encoded[0], needs, images=stores[0])[CR].policy.sum())
    assert counts.tower_calls == calls
    every = gradients(free, score(free, encoded[1], needs, images=stores[1])[CR].policy.sum())
    assert relative(ours, {key: every[key] for key in ours}) < 1e-11
    assert len(ours) < len(every)


@pytest.mark.parametrize("where", ["vision_tower", "multi_modal_projector"])
def test_adapters_on_the_vision_side_change_the_policy_but_not_the_reference(where, root, pairs):
    needs = Needs(branches=frozenset({CC}), reference=frozenset({CC}))
    bare = frozen("llava-mistral", "float64")
    store = ImageStore(bare)
    base = score(bare, encode_all(bare, root, pairs, needs, store), Needs(needs.branches), images=store)
    names = {"vision_tower": r".*vision_tower.*\.(q_proj|v_proj)", "multi_modal_projector": r".*linear_1"}
    config = LoraConfig(r=2, target_modules=names[where], init_lora_weights=False)
    policy = frozen("llava-mistral", "float64")
    policy = dataclasses.replace(policy, model=get_peft_model(policy.model, config).to(torch.float64))
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, needs, store)
    for _ in range(2):
        scores = score(policy, encoded, needs, images=store, reference="online")
        torch.testing.assert_close(scores[CC].reference, base[CC].policy, rtol=0, atol=1e-11)
        assert (scores[CC].policy - scores[CC].reference).abs().max() > 1e-3
        assert len(gradients(policy, scores[CC].policy.sum())) > 1
        with torch.no_grad():
            silent = score(policy, encoded, needs, images=store, reference="online")
        torch.testing.assert_close(silent[CC].policy, scores[CC].policy, rtol=0, atol=1e-11)


def test_a_changed_file_is_refused(tmp_path):
    policy, ref = frozen("llava-mistral"), image(tmp_path, 1)
    (tmp_path / "1.png").write_bytes((tmp_path / image(tmp_path, 2).path).read_bytes())
    store = ImageStore(policy)
    study = store.add([ref], tmp_path)
    with pytest.raises(DataError, match="as the pair says"):
        store.pixels(study)


def test_memory_is_bounded():
    held = Budgeted(limit_bytes=100)
    for name in "abc":
        held.put((name,), {"x": torch.zeros(10)})
    assert held.get(("a",)) is None
    assert held.get(("c",)) is not None
    assert held.held_bytes == 80


def reading_threads(monkeypatch):
    names, read = [], FeatureFiles.read

    def watched(self, key, study):
        names.append(threading.current_thread().name)
        return read(self, key, study)

    monkeypatch.setattr(FeatureFiles, "read", watched)
    return names


def sized(store, refs, root):
    studies = [store.add([ref], root) for ref in refs]
    token = store.policy.family.image_token_id(store.policy.base)
    return studies, [store.prompt(study, "Why?")[0].count(token) for study in studies]


def test_features_are_read_ahead_in_another_thread(tmp_path, monkeypatch):
    policy, refs = frozen("llava-mistral"), [image(tmp_path, seed) for seed in range(4)]
    computed, _ = features(policy, refs, tmp_path, tmp_path / "cache")
    names = reading_threads(monkeypatch)
    store = ImageStore(policy, cache=tmp_path / "cache")
    studies, sizes = sized(store, refs, tmp_path)
    first = store.features(studies[:1], sizes[:1])
    assert len(names) == 1
    assert names[0] == threading.current_thread().name
    store.ahead(studies)
    store.ahead(studies)
    with counting() as counts:
        rest = store.features(studies[1:], sizes[1:])
    assert counts.tower_calls == 0
    assert len(names) == 4
    assert all(name.startswith("medpref-features") for name in names[1:])
    assert torch.equal(torch.cat((first, rest)), computed)


def test_what_is_not_on_disk_is_computed_and_what_is_broken_is_said(tmp_path):
    policy, refs = frozen("llava-mistral"), [image(tmp_path, seed) for seed in range(3)]
    computed, _ = features(policy, refs, tmp_path)
    features(policy, refs[:2], tmp_path, tmp_path / "cache")
    store = ImageStore(policy, cache=tmp_path / "cache")
    studies, sizes = sized(store, refs, tmp_path)
    store.features(studies[:1], sizes[:1])
    store.ahead(studies[2:])
    with counting() as counts:
        last = store.features(studies[2:], sizes[2:])
    assert counts.tower_calls == 1
    assert torch.equal(last, computed[-sizes[2] :])
    for file in (tmp_path / "cache").rglob("*.safetensors"):
        file.write_bytes(b"broken")
    store.ahead(studies[1:2])
    with pytest.raises(SafetensorError):
        store.features(studies[1:2], sizes[1:2])
