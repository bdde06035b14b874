"""Images once: cached features equal computed ones bit for bit, and anything that makes them differ must miss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medpref.engine.counters import counting
from medpref.engine.images import Budgeted, ImageStore
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


@pytest.mark.parametrize("what", ["pixel", "weight", "processor", "dtype"])
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


@pytest.mark.parametrize("name", ["llava-mistral", "qwen2_5_vl"])
def test_a_trained_projector_over_a_frozen_tower(name, root, pairs):
    policy, free = tiny_policy(name), tiny_policy(name)
    for parameter in policy.family.tower_parameters(policy.base):
        parameter.requires_grad_(False)
    encoded = encode_all(policy, root, pairs, NEEDS, store := ImageStore(policy))
    ours = gradients(policy, score(policy, encoded, NEEDS, images=store)[CR].policy.sum())
    every = gradients(free, score(free, encoded, NEEDS, images=store_of(free, root, pairs))[CR].policy.sum())
    assert relative(ours, {key: every[key] for key in ours}) < 1e-11
    assert len(ours) < len(every)


def store_of(policy, root, pairs):
    store = ImageStore(policy)
    encode_all(policy, root, pairs, NEEDS, store)
    return store


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
