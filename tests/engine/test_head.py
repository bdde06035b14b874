"""The head's one operation against full logits and autograd, in float64."""

from __future__ import annotations

import pytest
import torch

from medpref.engine.counters import counting
from medpref.engine.cross import Couples, cross_divergence
from medpref.engine.head import Ask, read_head

ROWS, WIDTH, VOCABULARY = 9, 6, 31
EDGE_ROW = torch.tensor([0, 0, 2, 3, 3, 3, 5, 8])
EDGE_TOKEN = torch.tensor([4, 30, 0, 7, 7, 9, 1, 2])
DIVERGING = torch.tensor([0, 3, 4, 8])
COLLIDING = torch.tensor([2, 3, 7])


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def setting(*, own_head=False, chunk_rows=100):
    hidden, weight = draw(ROWS, WIDTH, seed=0).requires_grad_(), draw(VOCABULARY, WIDTH, seed=1).requires_grad_()
    ask = Ask(
        EDGE_ROW,
        EDGE_TOKEN,
        divergence_rows=DIVERGING,
        reference=draw(len(DIVERGING), WIDTH, seed=2),
        reference_weight=draw(VOCABULARY, WIDTH, seed=3) if own_head else None,
        collision_rows=COLLIDING,
        chunk_bytes=chunk_rows * VOCABULARY * 8 * 7,
    )
    return hidden, weight, ask


def plain(hidden, weight, ask):
    log_p = (hidden @ weight.t()).log_softmax(-1)
    head = weight.detach() if ask.reference_weight is None else ask.reference_weight
    log_q = (ask.reference @ head.t()).log_softmax(-1)
    some = log_p[ask.divergence_rows]
    return (
        log_p[ask.edge_row, ask.edge_token],
        (log_q.exp() * (log_q - some)).sum(-1),
        (some.exp() * (some - log_q)).sum(-1),
        log_p[ask.collision_rows].exp().pow(2).sum(-1).log(),
    )


@pytest.mark.parametrize("own_head", [False, True])
@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_values_and_gradients_equal_full_logits(own_head, chunk_rows):
    hidden, weight, ask = setting(own_head=own_head, chunk_rows=chunk_rows)
    out = read_head(hidden, weight, ask)
    found, expected = (out.log_prob, out.forward, out.reverse, out.collision), plain(hidden, weight, ask)
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
        scale = draw(len(other), seed=10 + number)
        ours = torch.autograd.grad((one * scale).sum(), [hidden, weight], retain_graph=True)
        theirs = torch.autograd.grad((other * scale).sum(), [hidden, weight], retain_graph=True)
        for gradient, oracle in zip(ours, theirs, strict=True):
            torch.testing.assert_close(gradient, oracle, rtol=0, atol=1e-10)
    assert (out.forward > 0).all()
    assert (out.reverse > 0).all()


def test_divergence_from_itself_is_zero_with_zero_gradient():
    hidden, weight, _ = setting()
    same = Ask(EDGE_ROW, EDGE_TOKEN, DIVERGING, hidden.detach()[DIVERGING])
    out = read_head(hidden, weight.detach(), same)
    gradient = torch.autograd.grad(out.forward.sum() + out.reverse.sum(), hidden)[0]
    assert out.forward.abs().max() < 1e-14
    assert gradient.abs().max() < 1e-14


def test_by_hand():
    """Two words, logits (ln 3, 0): p = (3/4, 1/4); against (1/2, 1/2)."""
    hidden = torch.tensor([[torch.tensor(3.0).log().item(), 0.0]], dtype=torch.float64)
    ask = Ask(
        torch.tensor([0]), torch.tensor([1]), torch.tensor([0]), torch.zeros(1, 2).double(), None, torch.tensor([0])
    )
    out = read_head(hidden, torch.eye(2, dtype=torch.float64), ask)
    assert out.log_prob.item() == pytest.approx(-1.3862944, abs=1e-7)
    assert out.forward.item() == pytest.approx(0.1438410, abs=1e-7)  # ln(2 / sqrt 3)
    assert out.reverse.item() == pytest.approx(0.1308120, abs=1e-7)  # 3/4 ln 3/2 - 1/4 ln 2
    assert out.collision.item() == pytest.approx(-0.4700036, abs=1e-7)  # ln 5/8


def test_products_with_the_vocabulary_matrix_are_counted():
    """2 a row for log p; 5 with both divergences: two of logits and three of gradients; none for a frozen head."""
    hidden, weight, _ = setting()
    with counting() as counts:
        out = read_head(hidden, weight.detach(), Ask(EDGE_ROW, EDGE_TOKEN))
        out.log_prob.sum().backward()
    assert (counts.head_products, counts.head_rows) == (2 * ROWS, ROWS)
    rows = torch.arange(ROWS)
    with counting() as counts:
        out = read_head(hidden, weight.detach(), Ask(EDGE_ROW, EDGE_TOKEN, rows, draw(ROWS, WIDTH, seed=2)))
        (out.log_prob.sum() + out.forward.sum() + out.reverse.sum()).backward()
    assert counts.head_products == 5 * ROWS
    with counting() as counts, torch.no_grad():
        read_head(hidden, weight, Ask(EDGE_ROW, EDGE_TOKEN))
    assert counts.head_products == ROWS


def test_bfloat16_accumulates_in_float32():
    hidden, weight, _ = setting()
    rough, rough_weight = hidden.detach().bfloat16().requires_grad_(), weight.detach().bfloat16()
    out = read_head(rough, rough_weight, Ask(EDGE_ROW, EDGE_TOKEN))
    exact = (rough.detach().double() @ rough_weight.double().t()).log_softmax(-1)[EDGE_ROW, EDGE_TOKEN]
    assert out.log_prob.dtype == torch.float32
    torch.testing.assert_close(out.log_prob.double(), exact, rtol=0, atol=1e-5)
    assert torch.autograd.grad(out.log_prob.sum(), rough)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("chunk_rows", [1, 100])
def test_cross_divergence_has_gradients_through_both(chunk_rows):
    hidden, weight, _ = setting()
    first, second = torch.tensor([0, 1, 5, 5]), torch.tensor([3, 1, 2, 8])
    ours = cross_divergence(hidden, weight, Couples(first, second, chunk_rows * VOCABULARY * 8 * 6))
    log_p = (hidden @ weight.t()).log_softmax(-1)
    oracle = (log_p[first].exp() * (log_p[first] - log_p[second])).sum(-1)
    torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-12)
    scale = draw(4, seed=5)
    for one, other in zip(
        torch.autograd.grad((ours * scale).sum(), [hidden, weight]),
        torch.autograd.grad((oracle * scale).sum(), [hidden, weight]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
