"""The head's sweep in tiles of any size against a loop over rows with full logits."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medpref.engine.counters import counting
from medpref.engine.cross import Couples, cross_divergence
from medpref.engine.head import Ask, read_head
from medpref.engine.tiles import CHUNK_BYTES, columns, row_blocks

WIDTH = 5


def draw(generator, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def indices(limit, least, most, *, unique=False):
    return st.lists(st.integers(0, limit - 1), min_size=least, max_size=most, unique=unique).map(
        lambda found: torch.tensor(found, dtype=torch.long)
    )


@st.composite
def cases(draws):
    """Hidden states, two heads and an Ask; logits of any scale, with a common offset that no softmax may feel."""
    rows, words = draws(st.integers(1, 7)), draws(st.integers(2, 23))
    generator = torch.Generator().manual_seed(draws(st.integers(0, 2**20)))
    scale = draws(st.sampled_from([0.1, 1.0, 12.0]))
    hidden, weight = scale * draw(generator, rows, WIDTH), draw(generator, words, WIDTH)
    weight[:, 0] += draws(st.sampled_from([0.0, 40.0]))
    diverging = draws(st.one_of(st.none(), indices(rows, 1, 2 * rows)))
    near = None if diverging is None else hidden[diverging] + 0.3 * scale * draw(generator, len(diverging), WIDTH)
    tokens = draws(indices(words, 1, 9))
    ask = Ask(
        edge_row=torch.tensor(draws(st.lists(st.integers(0, rows - 1), min_size=len(tokens), max_size=len(tokens)))),
        edge_token=tokens,
        divergence_rows=diverging,
        reference=near,
        reference_weight=draw(generator, words, WIDTH) if diverging is not None and draws(st.booleans()) else None,
        collision_rows=draws(st.one_of(st.none(), indices(rows, 1, rows))),
        chunk_bytes=draws(st.sampled_from([1, 100, 400, 1000, 5000, None])),
    )
    counts = [len(tokens), *[0 if diverging is None else len(diverging)] * 2]
    counts.append(0 if ask.collision_rows is None else len(ask.collision_rows))
    masks = [torch.tensor(draws(st.lists(st.booleans(), min_size=count, max_size=count))) for count in counts]
    return hidden, weight, ask, [draw(generator, count) * mask for count, mask in zip(counts, masks, strict=True)]


def loop(hidden, weight, ask):
    """Each value from one row's full logits."""

    def log_p(row):
        return (weight @ hidden[row]).log_softmax(0)

    def stacked(values):
        return torch.stack(values) if values else hidden.new_zeros(0)

    head = weight.detach() if ask.reference_weight is None else ask.reference_weight
    edges = [log_p(row)[token] for row, token in zip(ask.edge_row.tolist(), ask.edge_token.tolist(), strict=True)]
    forward, reverse = [], []
    if ask.divergence_rows is not None:
        for row, spoken in zip(ask.divergence_rows.tolist(), ask.reference, strict=True):
            log_q = (head @ spoken).log_softmax(0)
            forward.append((log_q.exp() * (log_q - log_p(row))).sum())
            reverse.append((log_p(row).exp() * (log_p(row) - log_q)).sum())
    colliding = [] if ask.collision_rows is None else ask.collision_rows.tolist()
    collision = [(2 * log_p(row)).logsumexp(0) for row in colliding]
    return stacked(edges), stacked(forward), stacked(reverse), stacked(collision)


def values(out):
    return out.log_prob, out.forward, out.reverse, out.collision


def gradients(found, scales, leaves):
    total = sum((one * scale).sum() for one, scale in zip(found, scales, strict=True))
    return torch.autograd.grad(total, leaves, allow_unused=True)


@settings(max_examples=60, deadline=None)
@given(cases(), st.booleans())
def test_any_ask_in_any_tiles_equals_the_loop(case, trained):
    hidden, weight, ask, scales = case
    leaves = [hidden.requires_grad_(), *([weight.requires_grad_()] if trained else [])]
    found, expected = values(read_head(hidden, weight, ask)), loop(hidden, weight, ask)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
    assert (found[0] <= 0).all()
    for one, other in zip(gradients(found, scales, leaves), gradients(expected, scales, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_rows_without_weight_have_no_gradient(case):
    """A row that only zero-weighted values read gets exactly zero, whatever the other rows are."""
    hidden, weight, ask, scales = case
    read = torch.zeros(len(hidden), dtype=torch.bool)
    for rows, scale in zip(
        (ask.edge_row, ask.divergence_rows, ask.divergence_rows, ask.collision_rows), scales, strict=True
    ):
        if rows is not None:
            read[rows[scale != 0]] = True
    found = values(read_head(hidden.requires_grad_(), weight, ask))
    gradient = gradients(found, scales, [hidden])[0]
    assert not gradient[~read].any()


@settings(max_examples=30, deadline=None)
@given(cases())
def test_float32_is_as_near_to_float64_as_full_logits_in_float32_are(case):
    hidden, weight, ask, scales = case
    rough = {"reference": None, "reference_weight": None}
    for name in rough:
        held = getattr(ask, name)
        rough[name] = None if held is None else held.float()
    small = Ask(**{**vars(ask), **rough})
    low = hidden.float().requires_grad_()
    exact = loop(hidden.requires_grad_(), weight, ask)
    ours, theirs = values(read_head(low, weight.float(), small)), loop(low, weight.float(), small)
    largest = (hidden.detach() @ weight.t()).abs().max().item()
    for one, other, oracle in zip(ours, theirs, exact, strict=True):
        assert one.dtype == torch.float32
        gap = (other - oracle).abs().max().item() if len(oracle) else 0.0
        torch.testing.assert_close(one.double(), oracle, rtol=1e-6, atol=2 * gap + 2e-6 * (1 + largest))
    scales32 = [scale.float() for scale in scales]
    oracle = gradients(exact, scales, [hidden])[0]
    gaps = [(gradients(found, scales32, [low])[0].double() - oracle).norm() for found in (ours, theirs)]
    rounded = largest + weight.abs().max().item()  # a gradient is a difference of averages of the matrix's rows
    assert gaps[0] <= 2 * gaps[1] + 1e-6 * (1 + rounded) * (1 + oracle.norm())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 17), st.sampled_from([1, 300, 900, None]), st.booleans(), st.data())
def test_couples_in_any_tiles_equal_full_logits(rows, words, limit, trained, data):
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**20)))
    hidden, weight = draw(generator, rows, WIDTH).requires_grad_(), draw(generator, words, WIDTH)
    leaves = [hidden, *([weight.requires_grad_()] if trained else [])]
    first = data.draw(indices(rows, 1, 8))
    second = torch.randint(rows, (len(first),), generator=generator)
    log_p = (hidden @ weight.t()).log_softmax(-1)
    expected = (log_p[first].exp() * (log_p[first] - log_p[second])).sum(-1)
    found = cross_divergence(hidden, weight, Couples(first, second, limit))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    scale = [draw(generator, len(first))]
    for one, other in zip(gradients([found], scale, leaves), gradients([expected], scale, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_logits_that_grow_to_the_last_word_overflow_nothing():
    """Each tile of one word raises the maximum by 1000 nats; the reference's falls."""
    weight = torch.arange(8.0)[:, None] * 1000
    hidden, reference = torch.ones(1, 1, requires_grad=True), torch.tensor([[1.0 - 1e-3]])
    zero = torch.tensor([0])
    ask = Ask(torch.tensor([0, 0]), torch.tensor([7, 0]), zero, reference, None, zero, chunk_bytes=1)
    out = read_head(hidden, weight, ask)
    assert out.log_prob.tolist() == [0.0, -7000.0]
    assert out.collision.item() == 0
    total = out.log_prob.sum() + out.forward.sum() + out.reverse.sum() + out.collision.sum()
    assert torch.autograd.grad(total, hidden)[0].item() == -7000.0


def test_no_rows_no_edges():
    weight, none = torch.randn(9, WIDTH), torch.zeros(0, dtype=torch.long)
    out = read_head(torch.zeros(0, WIDTH, requires_grad=True), weight, Ask(none, none))
    assert [len(one) for one in values(out)] == [0, 0, 0, 0]
    hidden = torch.randn(3, WIDTH, requires_grad=True)
    out = read_head(hidden, weight, Ask(none, none, torch.tensor([1]), torch.randn(1, WIDTH)))
    assert torch.autograd.grad(out.reverse.sum(), hidden)[0][[0, 2]].abs().max() == 0


def test_autocast_does_not_reach_the_sums():
    generator = torch.Generator().manual_seed(0)
    hidden, weight, rows = (
        draw(generator, 6, WIDTH).float().requires_grad_(),
        draw(generator, 50, WIDTH).float(),
        torch.arange(6),
    )
    ask = Ask(rows, rows, rows, hidden.detach() + 0.1, None, rows)
    plain = values(read_head(hidden, weight, ask))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = values(read_head(hidden, weight, ask))
    for one, other in zip(cast, plain, strict=True):
        assert torch.equal(one, other)


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor made."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {one.untyped_storage()._cdata for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)}
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor) and one.untyped_storage()._cdata not in given:
                self.bytes = max(self.bytes, one.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize("trained", [False, True])
def test_no_tensor_is_larger_than_a_tile(trained):
    """40 rows, 3,000 words: full logits are 480 kB; with tiles of 24 kB nothing larger is made but the matrix's own."""
    generator = torch.Generator().manual_seed(0)
    hidden = draw(generator, 40, WIDTH, dtype=torch.float32).requires_grad_()
    weight = draw(generator, 3000, WIDTH, dtype=torch.float32).requires_grad_(trained)
    rows = torch.arange(40)
    ask = Ask(rows, rows, rows, hidden.detach() + 0.1, chunk_bytes=24_000)
    with Largest() as seen:
        out = read_head(hidden, weight, ask)
    assert 12_000 < seen.bytes <= 24_000
    with Largest() as seen:
        (out.log_prob.sum() + out.forward.sum() + out.reverse.sum()).backward()
    assert seen.bytes <= (weight.numel() * 4 if trained else 24_000)


@pytest.mark.parametrize(("divergences", "products"), [(False, 4), (True, 6)])
def test_a_trained_matrix_takes_its_logits_twice_and_a_product_a_gradient(divergences, products):
    """Keeping sums of the matrix for backward as well would take 8 with divergences, and 4 without."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (draw(generator, count, WIDTH).requires_grad_() for count in (7, 30))
    rows = torch.arange(7)
    ask = Ask(rows, rows, *((rows, draw(generator, 7, WIDTH)) if divergences else ()), chunk_bytes=500)
    with counting() as counts:
        sum(one.sum() for one in values(read_head(hidden, weight, ask))).backward()
    assert counts.head_products == products * 7


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 3000), st.integers(1, 4), st.integers(1, 40_000), st.integers(1, 5000), st.integers(1, 1 << 26))
def test_tiles_cover_all_once_within_the_bytes(rows, kinds, vocabulary, width, limit):
    weight = torch.empty(vocabulary, width, device="meta")
    blocks = row_blocks(rows, weight, kinds, item=4, limit=limit)
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(rows))
    for block in blocks[:1]:
        live = kinds * (block.stop - block.start)
        parts = columns(live, weight, item=4, limit=limit)
        assert parts[0].start == 0
        assert parts[-1].stop == vocabulary
        assert all(one.stop == other.start for one, other in pairwise(parts))
        widest = max(part.stop - part.start for part in parts)
        assert 4 * live * widest <= limit or (widest == 1 and live == kinds)


def test_few_rows_are_one_block_and_tiles_fill_the_bytes():
    weight = torch.empty(151_936, 1024, device="meta")
    assert row_blocks(320, weight, 3, item=4, limit=CHUNK_BYTES["cpu"]) == [slice(0, 320)]
    widest = columns(3 * 320, weight, item=4, limit=CHUNK_BYTES["cpu"])[0].stop
    assert 0.9 < widest * 3 * 320 * 4 / CHUNK_BYTES["cpu"] <= 1
