"""The margin term: tokens, spans, weights, absence, and combinations it refuses."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch.nn.functional import logsigmoid

from medpref.errors import RecipeError
from medpref.objectives import Margin, Totals
from medpref.objectives.transforms import transformed
from medpref.registry import TERMS
from tests.objectives.hand import branch, scores

PAIR = {"better": "clean/chosen", "worse": "clean/rejected"}


def loss(given, **options) -> torch.Tensor:
    return Margin(**PAIR, **options)(given, Totals(len(next(iter(given.values())).present)))


def dpo(*margins: float) -> torch.Tensor:
    return -logsigmoid(0.1 * torch.tensor(margins))


TWO = scores(
    clean_chosen=branch([[-1.0, -2.0, -3.0], [-1.0]], [[-2.0, -2.0, -5.0], [-4.0]], spans=[[0, 1, 1], [1]]),
    clean_rejected=branch([[-4.0, -1.0], [-2.0, -2.0]], [[-1.0, -1.0], [-1.0, -3.0]], spans=[[1, 0], [0, 1]]),
)


def test_sums_of_tokens_make_the_margin():
    # D_c = 1 + 0 + 2 = 3 and 3; D_r = -3 + 0 = -3 and -1 + 1 = 0.
    torch.testing.assert_close(loss(TWO), dpo(3 - -3, 3 - 0))


def test_spans_and_outside_partition_the_tokens():
    # Span tokens: D_c = 2, 3; D_r = -3, 1. Outside: D_c = 1, none; D_r = 0, -1.
    torch.testing.assert_close(loss(TWO, tokens="spans"), dpo(2 - -3, 3 - 1))
    torch.testing.assert_close(loss(TWO, tokens="outside"), dpo(1 - 0, 0 - -1))


def test_a_pair_with_no_span_token_on_either_side_says_nothing():
    given = scores(
        clean_chosen=branch([[-1.0], [-1.0]], [[-3.0], [-3.0]], spans=[[0], [0]]),
        clean_rejected=branch([[-1.0], [-1.0]], [[-2.0], [-2.0]], spans=[[0], [1]]),
    )
    got = loss(given, tokens="spans")
    torch.testing.assert_close(got, torch.cat([torch.zeros(1), dpo(0 - 1)]))
    for read in given.values():
        (grad,) = torch.autograd.grad(got[0], read.policy, retain_graph=True, allow_unused=True)
        assert grad is None or not grad.any()


@pytest.mark.parametrize("side", ["clean_chosen", "clean_rejected"])
@pytest.mark.parametrize("link", ["sigmoid", "orpo", "ipo", "discopop", "simpo"])
def test_an_absent_branch_is_zero_with_finite_gradients(side, link):
    rows = {"clean_chosen": [[-1.0, -0.5], [-2.0]], "clean_rejected": [[-1.5], [-2.0, -3.0]]}
    rows[side] = [rows[side][0], None]
    given = scores(**{name: branch(value) for name, value in rows.items()})
    got = loss(given, link=link)
    assert got[0] != 0
    assert got[1] == 0
    got.sum().backward()
    for read in given.values():
        assert read.policy.grad is not None
        assert read.policy.grad.isfinite().all()
        assert read.policy.grad[0].any()
        assert not read.policy.grad[1].any()


def test_length_normalisation_divides_by_selected_tokens():
    torch.testing.assert_close(loss(TWO, normalise="length"), dpo(3 / 3 - -3 / 2, 3 - 0))
    torch.testing.assert_close(loss(TWO, normalise="length", tokens="spans"), dpo(2 / 2 - -3 / 1, 3 - 1))
    torch.testing.assert_close(loss(TWO, link="sigmoid_norm"), loss(TWO, normalise="length"))


def test_span_weight_weighs_spans_and_counts_them():
    # Dense DPO: D = outside + 5 * spans; averaged, the divisor is n_outside + 5 * n_spans.
    torch.testing.assert_close(loss(TWO, span_weight=5.0), dpo((1 + 10) - (0 - 15), 15 - (-1 + 5)))
    want = dpo(11 / 11 - -15 / 6, 15 / 5 - 4 / 6)
    torch.testing.assert_close(loss(TWO, span_weight=5.0, normalise="length"), want)


def test_ld_alpha_discounts_tokens_past_the_shorter_reply():
    # Pair 0: the third chosen token; pair 1: the second rejected token.
    torch.testing.assert_close(loss(TWO, ld_alpha=0.5), dpo(1 + 0 + 0.5 * 2 - -3, 3 - (-1 + 0.5 * 1)))
    torch.testing.assert_close(loss(TWO, ld_alpha=1.0), loss(TWO))


def test_wpo_multiplies_by_both_on_policy_weights_without_gradient():
    given = scores(
        clean_chosen=branch([[-1.0, -2.0]], collision=[[-0.5, -1.5]]),
        clean_rejected=branch([[-3.0]], collision=[[-1.0]]),
    )
    weight = exp((-0.5 + -0.5) / 2) * exp(-2.0)
    got = loss(given, weighting="wpo")
    torch.testing.assert_close(got, dpo(0.0) * weight)
    plain = torch.autograd.grad(loss(given).sum(), [read.policy for read in given.values()])
    weighted = torch.autograd.grad(got.sum(), [read.policy for read in given.values()])
    for one, two in zip(plain, weighted, strict=True):
        torch.testing.assert_close(one * weight, two)


@pytest.mark.parametrize(
    ("kind", "want"),
    [
        ("reverse_kl", 0.7),
        ("forward_kl", 1 - exp(-0.7)),
        ("js_divergence", log(2 * exp(0.7) / (exp(0.7) + 1))),
        ("alpha_divergence", (exp(0.7) ** -0.5 - 1) / -0.5),
    ],
)
def test_f_divergence_scores(kind, want):
    got = transformed(torch.tensor([0.7, 0.0]), kind, alpha=0.5)
    torch.testing.assert_close(got, torch.tensor([want, 0.0]))


def test_alpha_divergence_tends_to_reverse_and_forward_kl():
    ratio = torch.linspace(-2, 2, 9, dtype=torch.float64)
    torch.testing.assert_close(transformed(ratio, "alpha_divergence", alpha=1.0), ratio)
    torch.testing.assert_close(transformed(ratio, "alpha_divergence", alpha=1 + 1e-5), ratio, rtol=1e-4, atol=0)
    forward = transformed(ratio, "forward_kl", alpha=0.5)
    torch.testing.assert_close(transformed(ratio, "alpha_divergence", alpha=0.0), forward)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"worse": "clean/chosen"}, "same branch"),
        ({"better": "clean"}, "write it as view/reply"),
        ({"link": "kto"}, "write kind: kto"),
        ({"link": "sigmod"}, "sigmoid"),
        ({"link": "hinge", "label_smoothing": 0.1}, "hinge has no label_smoothing"),
        ({"link": "exo_pair"}, "1e-3"),
        ({"link": "robust", "label_smoothing": 0.5}, "less than 0.5"),
        ({"gamma": 0.5}, "sigmoid has no gamma"),
        ({"tau": 0.5}, "sigmoid has no tau"),
        ({"link": "simpo", "normalise": "length"}, "by definition"),
        ({"link": "ipo", "normalise": "length"}, "by definition"),
        ({"link": "bco_pair", "f_divergence": "forward_kl"}, "normaliser"),
        ({"link": "simpo", "f_divergence": "js_divergence"}, "normaliser"),
        ({"f_alpha": 0.3}, "alpha_divergence only"),
        ({"tokens": "spans", "span_weight": 2.0}, "tokens: all"),
        ({"tokens": "spans", "ld_alpha": 0.5}, "tokens: all"),
        ({"link": "aot", "weighting": "wpo"}, "sorts the batch"),
        ({"beta": 0.0}, "greater than 0"),
        ({"reference": "none"}, "unknown key 'reference'"),
    ],
)
def test_a_meaningless_combination_is_refused_with_its_reason(options, reason):
    with pytest.raises(RecipeError, match=reason):
        TERMS.parse({"kind": "margin", **PAIR, **options}, where="test")


def test_defaults_of_a_link_are_filled_and_shown():
    assert Margin(**PAIR, link="discopop").tau == 0.05
    assert Margin(**PAIR, link="simpo").gamma == 0.5
    assert Margin(**PAIR, link="simpo", gamma=1.2).gamma == 1.2
    assert Margin(**PAIR).gamma is None


@pytest.mark.parametrize("link", ["simpo", "orpo", "cpo"])
def test_a_reference_free_link_needs_no_reference(link):
    assert Margin(**PAIR, link=link).needs.reference == frozenset()
    assert len(Margin(**PAIR, link=link).needs.branches) == 2
