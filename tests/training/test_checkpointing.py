"""Running layers again in backward changes what is held, not what is learnt; ``auto`` chooses it by predicted bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from medpref.engine import counters
from medpref.engine.encode import encode_pair
from medpref.engine.images import ImageStore
from medpref.models.outline import outline_of
from medpref.models.policy import load_policy
from medpref.recipe import Lora, Train
from medpref.training import planner
from medpref.training.activation import bytes_kept
from medpref.training.adapter import prepare
from medpref.training.train import train
from medpref.training.trainer import Task, micro_losses

from .test_train import DPO, FAST, POLICY, rows, some_pairs


def task_of(name, root, settings):
    policy = load_policy(f"tiny:{name}@random")
    images = ImageStore(policy)
    pairs = [encode_pair(policy, pair, root, DPO.needs, images) for pair in some_pairs(root, 4)]
    return Task(prepare(policy, settings, seed=0), DPO, pairs, images, "online", settings.max_tokens_per_batch)


def gradients(task):
    """Of one batch, with what was counted; dropout draws the same."""
    torch.manual_seed(3)
    task.policy.model.train()
    with counters.counting() as counts:
        for loss, _ in micro_losses(task, task.pairs):
            loss.backward()
    found = {name: value.grad.clone() for name, value in task.policy.model.named_parameters() if value.grad is not None}
    task.policy.model.zero_grad(set_to_none=True)
    return found, counts


@pytest.mark.parametrize("name", ["llava-mistral", "qwen2_5_vl", "qwen3_vl", "gemma3"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_gradients_are_the_same_bit_for_bit(tmp_path, name, dropout):
    task = task_of(name, tmp_path, Train(lora=Lora(r=4, dropout=dropout)))
    before, counts = gradients(task)
    planner.checkpoint_layers(task.policy)
    after, again = gradients(task)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert any(value.abs().sum() > 0 for value in after.values())
    assert again.tower_calls == 0 < counts.tower_calls  # features are held; the tower is not run again


def test_a_checkpointed_step_keeps_less(tmp_path):
    task = task_of("llava-mistral", tmp_path, FAST)
    kept = []

    def measure():
        seen = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda value: seen.setdefault(value.untyped_storage()._cdata, value) is None or value, lambda value: value
        ):
            [(loss, _)] = micro_losses(task, task.pairs)
        kept.append(sum(value.untyped_storage().nbytes() for value in seen.values()))
        loss.backward()

    task.policy.model.train()
    measure()
    planner.checkpoint_layers(task.policy)
    measure()
    assert kept[1] < kept[0] / 3


@pytest.mark.parametrize(("free", "chosen"), [(1 << 40, "none"), (1 << 20, "layer")])
def test_auto_goes_by_the_free_memory(tmp_path, monkeypatch, free, chosen):
    monkeypatch.setattr(planner, "free_bytes", lambda device: free)
    counts = train(
        load_policy(POLICY), some_pairs(tmp_path), DPO, FAST, out=tmp_path / "t", root=tmp_path, seed=1, label="t"
    )
    assert counts["checkpointing"] == chosen


def test_training_comes_to_the_same_end(tmp_path):
    ends = []
    for how in ("none", "layer"):
        settings = FAST.model_copy(update={"checkpointing": how, "steps": 3})
        out = tmp_path / how
        train(load_policy(POLICY), some_pairs(tmp_path), DPO, settings, out=out, root=tmp_path, seed=1, label="t")
        ends.append([row["loss"] for row in rows(out)])
    assert ends[0] == ends[1]


def test_what_is_asked_for_is_not_looked_into(tmp_path):
    for how in ("none", "layer"):
        settings = FAST.model_copy(update={"checkpointing": how})
        assert planner.choose_checkpointing(None, [], [], DPO, settings, seed=0) == how


def test_bytes_do_not_depend_on_what_is_switched_on(tmp_path):
    policy = prepare(load_policy(POLICY), FAST, seed=0)
    before = bytes_kept(policy)
    outline = outline_of(policy)
    assert {value.device.type for value in outline.model.parameters()} == {"meta"}
    assert {value.device.type for value in policy.model.parameters()} == {"cpu"}
    planner.checkpoint_layers(policy)
    assert bytes_kept(policy) == before == bytes_kept(outline)
    half = replace(outline, model=outline.model.to(torch.bfloat16))
    assert before.token / 2 < bytes_kept(half).token < 0.8 * before.token  # norms stay in float32
    assert before.row / 2 < bytes_kept(half).row < 0.8 * before.row
