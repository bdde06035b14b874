"""The back ends against each other, and against masked attention computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from medpref.engine.attention import arrange
from medpref.engine.cascade import cascade, make_parts
from medpref.engine.counters import counting
from medpref.engine.flex import flex, make_blocks
from medpref.engine.images import ImageStore
from medpref.engine.planner import bundle_branches, find_branches, find_trunks, parts_work, rows_work
from medpref.engine.score import score
from medpref.engine.trie import build_forest
from medpref.errors import RecipeError
from medpref.objectives.scores import Needs

from .plain import CC, CR, XC, XR, encode_all, gradients, relative, tiny_policy

ALL = Needs(branches=frozenset({CC, CR, XC, XR}))
LINES = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 1), min_size=1, max_size=12)), min_size=1, max_size=10
)


def draw(nodes, heads, seed):
    return torch.randn(1, heads, nodes, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(query, key, value, forest):
    scores = (query @ key.transpose(-1, -2)) * 0.7
    return scores.masked_fill(~torch.as_tensor(forest.visible()), float("-inf")).softmax(-1) @ value


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_cascade_is_exact(lines):
    forest = build_forest(lines)
    given_ = [draw(forest.nodes, 2, seed).requires_grad_() for seed in range(3)]
    ours = cascade(*given_, make_parts(forest, dtype=torch.float64), 0.7).transpose(1, 2)
    oracle = by_hand(*given_, forest)
    torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-13)
    up = draw(forest.nodes, 2, 9)
    for one, other in zip(torch.autograd.grad(ours, given_, up), torch.autograd.grad(oracle, given_, up), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(LINES, st.data(), st.sampled_from([2, 128]))
def test_a_narrowed_cascade_is_exact_at_the_nodes_asked_for(lines, data, block):
    forest = build_forest(lines)
    nodes = data.draw(st.lists(st.integers(0, forest.nodes - 1), min_size=1, unique=True))
    given_ = [draw(forest.nodes, 2, seed).requires_grad_() for seed in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medpref.engine.cascade.BLOCK", block)
        parts = make_parts(forest, dtype=torch.float64).narrowed(nodes)
    ours = cascade(*given_, parts, 0.7).transpose(1, 2)[:, :, nodes]
    oracle = by_hand(*given_, forest)[:, :, nodes]
    torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-13)
    up = draw(len(nodes), 2, 9)
    for one, other in zip(torch.autograd.grad(ours, given_, up), torch.autograd.grad(oracle, given_, up), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(LINES)
def test_trunks_and_branches_cover_every_node_once(lines):
    forest = build_forest(lines)
    runs = [(start, middle) for start, middle, _ in find_trunks(forest)] + find_branches(forest)
    assert sorted(node for start, end in runs for node in range(start, end)) == list(range(forest.nodes))
    children = np.bincount(forest.parent[forest.parent >= 0], minlength=forest.nodes)
    for start, middle, end in find_trunks(forest):
        roots = int((forest.parent[start:end] < 0).sum())
        assert (middle > start) == (roots == 1)
        assert (children[start : max(start, middle - 1)] == 1).all()
        assert roots > 1 or children[middle - 1] != 1
    assert sorted(one for bundle in bundle_branches(find_branches(forest)) for one in bundle) == sorted(
        find_branches(forest)
    )


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_agrees_forward():
    forest = build_forest([(key, [1] * 30 + list(range(number, number + 20))) for key in "ab" for number in range(3)])
    query, (key, value) = draw(forest.nodes, 4, 0).float(), (draw(forest.nodes, 2, seed).float() for seed in (1, 2))
    blocks = make_blocks(forest, torch.device("cpu"))
    ours = flex(query, key, value, blocks, 0.7)
    oracle = by_hand(query, *(one.repeat_interleave(2, 1) for one in (key, value)), forest)
    torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["llava-mistral", "qwen2_5_vl", "qwen3_vl", "internvl"])
def test_back_ends_agree_in_values_and_gradients(name, root, pairs):
    policy = tiny_policy(name)
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, ALL, store)
    found, slots = {}, {}
    for backend in ("dense", "plain", "cascade"):
        with counting() as counts:
            scores = score(policy, encoded, ALL, images=store, backend=backend)
        loss = sum(held.policy.sum(1).pow(2).sum() for held in scores.values())
        found[backend], slots[backend] = (loss, gradients(policy, loss)), counts
    for backend in ("dense", "cascade"):
        assert abs((found[backend][0] - found["plain"][0]).item()) <= 1e-12 * found["plain"][0].item()
        assert relative(found[backend][1], found["plain"][1]) <= 1e-10
    assert slots["cascade"].slots == slots["cascade"].tokens_computed == slots["dense"].tokens_computed
    assert slots["dense"].tokens_computed < 0.45 * slots["plain"].tokens_computed <= slots["plain"].tokens_asked


@pytest.mark.parametrize("backend", ["dense", "cascade"])
def test_bfloat16_is_read_with_float32_log_probabilities(backend, root, pairs):
    rough, fine = tiny_policy("llava-mistral", "bfloat16"), tiny_policy("llava-mistral")
    fine.base.load_state_dict(rough.base.state_dict())
    found = []
    for policy, how in ((rough, backend), (rough, "plain"), (fine, "plain")):
        store = ImageStore(policy)
        encoded = encode_all(policy, root, pairs, ALL, store)
        scores = score(policy, encoded, ALL, images=store, backend=how)
        found.append((scores[CC].policy.double(), gradients(policy, scores[CC].policy.sum())))
        assert scores[CC].policy.dtype == (torch.float32 if policy is rough else torch.float64)
    (ours, grads), (plain, plain_grads), (exact, exact_grads) = found
    assert (ours - exact).norm() <= 1.3 * (plain - exact).norm()
    assert relative(grads, exact_grads) <= 1.3 * relative(plain_grads, exact_grads)


def test_cascade_survives_checkpointing(root, pairs):
    policy = tiny_policy("llava-mistral")
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, ALL, store)

    def step():
        scores = score(policy, encoded, ALL, images=store, backend="cascade")
        return gradients(policy, scores[CC].policy.pow(2).sum())

    without = step()
    policy.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    policy.base.train()
    with_layers = step()
    assert policy.base.model.language_model.layers[0].gradient_checkpointing
    assert relative(with_layers, without) < 1e-12


def test_a_model_that_cascaded_still_reads_a_plain_row(root, pairs):
    policy = tiny_policy("llava-mistral")
    ids = torch.tensor([[5, 6, 7, 8]])
    before = policy.base(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, ALL, store)
    score(policy, encoded, ALL, images=store, backend="cascade")
    assert policy.base.config.get_text_config()._attn_implementation == "medpref"
    assert torch.equal(policy.base(input_ids=ids, attention_mask=torch.ones_like(ids)).logits, before)


def test_auto_takes_the_least_predicted_work():
    policy = tiny_policy("llava-mistral", "float32")
    deep = build_forest([("a", [1] * 600 + [question] * 80) for question in range(8)])
    flat = build_forest([(number, [1] * 40 + [number]) for number in range(40)])
    assert arrange(policy, deep, "auto", width=128) == ("cascade", deep.nodes)
    assert arrange(policy, flat, "auto", width=128)[0] == "dense"
    assert parts_work(deep, width=128) < rows_work(np.diff(deep.starts), deep.nodes, width=128)


def test_what_a_back_end_cannot_read_is_refused():
    policy = tiny_policy("llava-mistral", "float32")
    forest = build_forest([("a", range(20)), ("a", [0, 1, 5])])
    with pytest.raises(RecipeError, match="did you mean 'cascade'"):
        arrange(policy, forest, "casade", width=128)
    with pytest.raises(RecipeError, match="see each other both ways"):
        arrange(tiny_policy("gemma3", "float32"), forest, "cascade", width=128)
    with pytest.raises(RecipeError, match="a model on cpu"):
        arrange(policy, forest, "flex", width=128)
    policy.base.config.get_text_config().sliding_window = 8
    assert arrange(policy, forest, "auto", width=128)[0] == "dense"
    with pytest.raises(RecipeError, match="sliding window of 8 tokens"):
        arrange(policy, forest, "cascade", width=128)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_flex_agrees_on_cuda(root, pairs):
    policy = tiny_policy("llava-qwen2", "float32")
    config = LoraConfig(r=4, target_modules=policy.family.lora_targets)
    get_peft_model(policy.model.to("cuda"), config)
    store = ImageStore(policy)
    encoded = encode_all(policy, root, pairs, ALL, store)
    found = {}
    for backend in ("dense", "flex"):
        scores = score(policy, encoded, ALL, images=store, backend=backend)
        found[backend] = gradients(policy, sum(held.policy.sum() for held in scores.values()))
    assert relative(found["flex"], found["dense"]) < 1e-3
