"""What ``medpref plan`` predicts, against what a step of the engine is counted to do."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from measure.model import SHAPES, build
from measure.observe import watch
from measure.ours import Ours
from measure.workloads import make, regular

from medpref.engine import counters
from medpref.training.activation import bytes_kept, predict_memory
from medpref.training.cost import parameter_bytes, read_load, read_sizes, training_work

SHAPE = dataclasses.replace(
    SHAPES["mini"], side=12, text={**SHAPES["mini"].text, "hidden_size": 128, "num_attention_heads": 4}
)


@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize(("per_image", "corrupt"), [(1, ""), (3, "own")])
def test_flops_bytes_and_tokens(tmp_path, per_image, corrupt, layered):
    given = regular("P", "predicted", pairs=3, per_image=per_image, reply=20, corrupt=corrupt)
    policy = build(SHAPE, device="cpu", dtype=torch.float32)
    arm = Ours(policy, given, make(given, SHAPE, tmp_path), layered=layered)
    arm.open_caches()
    with counters.counting() as counts:
        seen = watch(arm.policy.model, arm.gradients)
    sizes, load = read_sizes(arm.policy), read_load(arm.data.steps[0], given.objective.needs)
    each = bytes_kept(arm.policy)
    work = training_work(sizes, load, checkpointing=layered)
    memory = predict_memory(sizes, load, each, checkpointing=layered)
    arm.close()

    assert load.nodes == counts.tokens_computed == seen.tokens / (2 if layered else 1)
    assert load.asked == counts.tokens_asked
    assert load.rows == counts.head_rows
    assert work.head == 2 * seen.head_products * SHAPE.vocabulary * 128
    attention = sum(value for name, value in seen.kernels.items() if "attention" in name)
    assert work.linears + work.head == pytest.approx(seen.flops - attention, rel=0.04)  # layer 0 has no input gradient
    assert 0.9 * work.attention < attention < 2.5 * work.attention  # small trees are read with a dense mask
    if not layered:
        assert load.nodes * each.token + load.rows * each.row == pytest.approx(seen.saved_bytes, rel=0.06)
    assert 0.75 < seen.peak_bytes / (memory.total - parameter_bytes(sizes)) < 1.05
