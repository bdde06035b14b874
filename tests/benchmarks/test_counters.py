"""The counters themselves: by hand, and against torch's own where that knows the kernel."""

from __future__ import annotations

import pytest
import torch
from measure.flops import Flops
from measure.memory import LiveBytes, saved_bytes
from measure.rounds import Arm, interleave, ratio
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode


def drawn(*size):
    return torch.randn(*size, requires_grad=True)


def counted(work):
    with Flops() as flops:
        work()
    return flops.total


def test_products_and_convolutions_are_counted_as_torch_counts_them():
    left, right, image, kernel = drawn(3, 5), drawn(5, 7), drawn(2, 3, 8, 8), drawn(4, 3, 2, 2)
    batch = drawn(2, 3, 5)

    def work():
        value = (left @ right).sum() + torch.bmm(batch, batch.transpose(1, 2)).sum()
        value = value + functional.linear(left, right.t(), drawn(7)).sum()
        (value + functional.conv2d(image, kernel, stride=2).sum()).backward()

    with FlopCounterMode(display=False) as theirs:
        work()
    assert counted(work) == theirs.get_total_flops()


def test_in_place_and_out_products_that_torch_misses():
    total, left, right = torch.zeros(3, 7), torch.randn(3, 5), torch.randn(5, 7)
    assert counted(lambda: total.addmm_(left, right)) == 2 * 3 * 5 * 7
    assert counted(lambda: torch.addmm(total, left, right, out=total)) == 2 * 3 * 5 * 7


@pytest.mark.parametrize(("causal", "pairs"), [(True, 6 * 7 // 2), (False, 36)])
def test_attention_on_the_cpu_backward_two_and_a_half_times_forward(causal, pairs):
    heads = [drawn(2, 4, 6, 8) for _ in range(3)]
    forward = 4 * 2 * 4 * pairs * 8

    def attend():
        return functional.scaled_dot_product_attention(*heads, is_causal=causal)

    assert counted(attend) == forward
    assert counted(lambda: attend().sum().backward()) == 3.5 * forward


def test_products_with_the_vocabulary_matrix_are_told_apart_through_views():
    weight, rows = torch.randn(11, 4), torch.randn(5, 4)
    with Flops(weight) as flops:
        logits = rows @ weight.t()
        logits @ weight
        logits.t() @ rows
        rows[:2] @ weight[:11].t()
    assert flops.head_products == 12
    assert flops.total == 2 * 44 * 17


def test_live_bytes_are_of_what_is_made_and_not_yet_freed():
    before = torch.zeros(1000)
    with LiveBytes() as live:
        view = before.view(10, 100)
        first = before + 1
        del first
        second = view * 2
        second.add_(1)
    assert live.held.peak == 4000
    assert live.held.now == 4000
    del second
    assert live.held.now == 0


def test_saved_bytes_count_a_storage_once_and_no_parameter():
    weight, given = drawn(8, 8), torch.randn(4, 8)
    with saved_bytes([weight]) as held:
        hidden = given @ weight
        loss = (hidden.exp() * hidden.view(8, 4).t()).sum() + (hidden * hidden.detach()).sum()
    assert held.now == 3 * 32 * 4  # the input, exp's output, and hidden, kept three times as views
    loss.backward()


def test_ratios_are_by_round_over_the_rounds_that_both_ran():
    slow, fast = {0: 4.0, 1: 9.0, 2: 2.0}, {0: 2.0, 2: 2.0, 3: 1.0}
    assert ratio(slow, fast) == {"median": 1.5, "min": 1.0, "max": 2.0}
    assert ratio({1: 1.0}, fast) is None


def test_every_arm_runs_once_a_round_and_another_one_begins():
    said = []
    arms = [Arm(name, lambda name=name: float(said.append(name) or 0), every) for name, every in (("a", 1), ("b", 2))]
    seconds, _ = interleave(arms, 3)
    assert said == ["a", "b", "a", "a", "b"]
    assert list(seconds["b"]) == [0, 2]
