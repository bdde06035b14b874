"""The gates: work of a small workload, exact on every machine. Times are asserted nowhere.

An image has 16 tokens, a prompt 40, a reply 5 (end token included; the last is never read).
"""

from __future__ import annotations

import pytest
from measure.naive import Naive
from measure.observe import difference, gradients_of, watch
from measure.ours import Ours
from measure.workloads import make, regular

from medpref.schema import Branch

trl = pytest.importorskip("trl")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(trl.__version__ != "1.16.0", reason="the counts are of TRL 1.16.0"),
]
ROW = 16 + 40 + 5
TREE = 16 + 40 + 2 * 4


def workload(per_image=1, corrupt="", pairs=2):
    return regular("T", "a test", pairs=pairs, per_image=per_image, reply=5, corrupt=corrupt)


def observe(arm, model):
    return watch(model, arm.gradients), gradients_of(model)


def ours(policy, given, data, **how):
    arm = Ours(policy, given, data, **how)
    arm.open_caches()
    found = observe(arm, arm.policy.model)
    arm.close()
    return found


def test_a_pair_an_image(policy, tmp_path):
    from measure.model import SHAPES
    from measure.theirs import Theirs

    given = workload()
    data = make(given, SHAPES["smoke"], tmp_path)
    warm, gradient = ours(policy, given, data)
    assert (warm.tokens, warm.tower_images, warm.head_products) == (2 * TREE, 0, 2 * 2 * 9)

    live, same = ours(policy, given, data, online=True)
    assert (live.tokens, live.tower_images, live.head_products) == (4 * TREE, 0, 3 * 2 * 9)
    assert difference(gradient, same) == 0

    plain, same = ours(policy, given, data, backend="plain")
    assert (plain.tokens, plain.head_products) == (2 * 2 * (ROW - 1), 2 * 2 * 10)
    assert difference(gradient, same) < 1e-5

    layered, same = ours(policy, given, data, layered=True)
    assert (layered.tokens, layered.head_products) == (2 * 2 * TREE, 2 * 2 * 9)
    assert layered.peak_bytes < warm.peak_bytes
    assert difference(gradient, same) == 0

    for checkpointing, own_head, tokens, images, products in (
        (True, False, 3, 3, 4 * 2 * 10),
        (False, False, 2, 2, 4 * 2 * 10),
        (False, True, 2, 2, 4 * 4 * (ROW - 1)),
    ):
        arm = Theirs(policy, given, data, checkpointing=checkpointing, own_head=own_head)
        seen, theirs = observe(arm, arm.trainer.model)
        assert (seen.tokens, seen.tower_images, seen.head_products) == (tokens * 4 * ROW, images * 4, products)
        assert difference(gradient, theirs) < 1e-5
        arm.close()


def test_the_collator_makes_the_tokens_that_we_read(policy, tmp_path):
    from measure.model import SHAPES
    from measure.theirs import Theirs

    given = workload(per_image=2)
    data = make(given, SHAPES["smoke"], tmp_path)
    [[(_, batch)]] = Theirs(policy, given, data).batches
    both = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    rows = [tuple(ids[mask.bool()].tolist()) for ids, mask in both]
    lines = [pair.branches[Branch("clean", name)] for name in ("chosen", "rejected") for pair in data.steps[0]]
    assert rows == [line.prompt + line.reply_ids for line in lines]
    assert batch["completion_mask"].sum(1).tolist() == [5] * 4


def test_questions_of_one_image_read_it_once(policy, tmp_path):
    from measure.model import SHAPES

    given = workload(per_image=4, pairs=4)
    data = make(given, SHAPES["smoke"], tmp_path)
    warm, gradient = ours(policy, given, data)
    assert warm.tokens == 16 + 4 * (40 + 2 * 4)
    arm = Ours(policy, given, data)
    cold = watch(arm.policy.model, lambda: (arm.open_caches(), arm.gradients())[1])
    assert (cold.tokens, cold.tower_calls, cold.tower_images) == (2 * warm.tokens, 1, 1)
    assert cold.head_products == warm.head_products * 3 / 2
    assert difference(gradient, gradients_of(arm.policy.model)) == 0
    arm.close()


@pytest.mark.parametrize(("corrupt", "trees"), [("shared", 2), ("own", 3)])
def test_four_branches_and_both_divergences(policy, tmp_path, corrupt, trees):
    from measure.model import SHAPES
    from measure.theirs import Theirs

    given = workload(per_image=2, corrupt=corrupt)
    data = make(given, SHAPES["smoke"], tmp_path)
    warm, gradient = ours(policy, given, data)
    assert warm.tokens == trees * 16 + 2 * 2 * (40 + 2 * 4)
    assert warm.head_products == 2 * 4 * 9 + 3 * 2 * 5  # log p of every row; the divergences of (clean, chosen)

    arm = Naive(policy, given, data)
    naive, oracle = observe(arm, arm.policy.model)
    assert (naive.tokens, naive.tower_images) == (2 * 8 * ROW, 2 * 8)
    assert naive.head_products == 3 * 8 * ROW
    assert difference(oracle, gradient) < 1e-5

    arm = Theirs(policy, given, data, checkpointing=False)
    theirs = watch(arm.trainer.model, arm.gradients)
    assert (theirs.tokens, theirs.tower_images) == (2 * 8 * ROW, 2 * 8)
    assert theirs.head_products == 4 * 8 * 5
    arm.close()
