"""Every link against its formula in plain Python, and identities between links."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.objectives import LINKS, Side
from medpref.objectives import links as L

B, E, TAU, G = 0.1, 0.1, 0.05, 0.5
# One pair: L_c, L_r, R_c, R_r, n_c, n_r; so D_c = 3, D_r = -2, z = 5.
LC, LR, RC, RR, NC, NR = -6.0, -9.0, -9.0, -7.0, 4.0, 2.0
DC, DR = LC - RC, LR - RR
Z = DC - DR


def s(x: float) -> float:
    return 1 / (1 + exp(-x))


def odds(mean_log_prob: float) -> float:
    return exp(mean_log_prob) / (1 - exp(mean_log_prob))


# The formula again in plain floats, and its value from a 20-digit calculator.
BY_HAND = {
    "sigmoid": (-(1 - E) * log(s(B * Z)) - E * log(s(-B * Z)), 0.5240770),
    "hinge": (max(0.0, 1 - B * Z), 0.5),
    "ipo": ((DC / NC - DR / NR - 1 / (2 * B)) ** 2, 10.5625),
    "robust": ((-(1 - E) * log(s(B * Z)) + E * log(s(-B * Z))) / (1 - 2 * E), 0.4115770),
    "exo_pair": (s(B * Z) * log(s(B * Z) / (1 - E)) + s(-B * Z) * log(s(-B * Z) / E), 0.2720548),
    "nca_pair": (-log(s(B * DC)) - 0.5 * log(s(-B * DC)) - 0.5 * log(s(-B * DR)), 1.2806023),
    "bco_pair": (-log(s(B * DC)) - log(s(-B * DR)), 1.1524941),
    "sppo_hard": ((DC - 1 / (2 * B)) ** 2 + (DR + 1 / (2 * B)) ** 2, 13.0),
    "apo_zero": (1 - s(B * DC) + s(B * DR), 0.8757235),
    "apo_down": (s(B * DC) + 1 - s(B * Z), 0.9519832),
    "discopop": ((1 - s(B * Z / TAU)) * -log(s(B * Z)) + s(B * Z / TAU) * exp(-B * Z), 0.6065246),
    "sigmoid_norm": (-log(s(B * (DC / NC - DR / NR))), 0.6094704),
    "simpo": (
        -(1 - E) * log(s(B * (LC / NC - LR / NR) - G)) - E * log(s(-B * (LC / NC - LR / NR) + G)),
        0.7781389,
    ),
    "orpo": (-B * log(s(log(odds(LC / NC)) - log(odds(LR / NR)))), 0.0038367),
    "cpo": (-(1 - E) * log(s(B * (LC - LR))) - E * log(s(-B * (LC - LR))), 0.5843552),
    "aot": (-(1 - E) * log(s(B * Z)) - E * log(s(-B * Z)), 0.5240770),
    "aot_unpaired": (-(1 - E) * log(s(B * Z)) - E * log(s(-B * Z)), 0.5240770),
}  # fmt: skip
OPTIONS = {"beta": B, "label_smoothing": E, "tau": TAU, "gamma": G}


def side(policy, reference, tokens) -> Side:
    policy, reference, tokens = (torch.as_tensor(x, dtype=torch.float64) for x in (policy, reference, tokens))
    return Side(policy, reference, policy - reference, tokens)


def value(name: str, c: Side, r: Side, **options) -> torch.Tensor:
    chosen = {key: {**OPTIONS, **options}[key] for key in LINKS[name].options}
    return LINKS[name].loss(c, r, **chosen)


@pytest.mark.parametrize("name", LINKS)
def test_a_link_is_its_formula(name):
    formula, digits = BY_HAND[name]
    assert formula == pytest.approx(digits, abs=6e-8)
    got = value(name, side([LC], [RC], [NC]), side([LR], [RR], [NR]))
    torch.testing.assert_close(got, torch.tensor([formula], dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_dpo_at_log_ratio_differences_0_10_20():
    zero = side([0.0] * 3, [0.0] * 3, [1.0] * 3)
    got = L.sigmoid(side([0.0, 10.0, 20.0], [0.0] * 3, [1.0] * 3), zero, beta=0.1, label_smoothing=0.0)
    torch.testing.assert_close(got, torch.tensor([0.6931472, 0.3132617, 0.1269280], dtype=torch.float64))


ratios = st.lists(st.floats(-50, 50), min_size=4, max_size=4)
beta = st.floats(0.01, 2)


@settings(max_examples=40, deadline=None)
@given(ratios, ratios, beta)
def test_identities_between_links(c, r, b):
    ones, nothing = [3.0] * 4, [0.0] * 4
    better, worse = side(c, nothing, ones), side(r, nothing, ones)

    def same(one, two):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)

    dpo = L.sigmoid(better, worse, beta=b, label_smoothing=0.0)
    same(L.robust(better, worse, beta=b, label_smoothing=0.0), dpo)
    same(L.cpo(better, worse, beta=b, label_smoothing=0.0), dpo)
    same(L.sigmoid_norm(better, worse, beta=3 * b), dpo)
    same(L.simpo(better, worse, beta=3 * b, gamma=0.0, label_smoothing=0.0), dpo)
    same(L.aot(better, worse, beta=b, label_smoothing=0.0).sort().values, dpo.sort().values)
    # FiRe-MPO under an unchanged image: the visual term is label smoothing with e = g / (1 + g).
    reverse = L.sigmoid(worse, better, beta=b, label_smoothing=0.0)
    same(dpo + 0.1 * reverse, 1.1 * L.sigmoid(better, worse, beta=b, label_smoothing=0.1 / 1.1))


@settings(max_examples=40, deadline=None)
@given(ratios, ratios, st.permutations(range(4)))
def test_aot_unpaired_sees_two_samples_and_not_pairs(c, r, order):
    nothing, ones = [0.0] * 4, [1.0] * 4
    one = value("aot_unpaired", side(c, nothing, ones), side(r, nothing, ones))
    two = value("aot_unpaired", side(c, nothing, ones), side([r[i] for i in order], nothing, ones))
    torch.testing.assert_close(one, two)


def test_aot_books_losses_by_rank():
    c = side([-1.0, -5.0, -3.0], [-2.0, -2.0, -9.0], [1.0] * 3)
    r = side([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0] * 3)
    # sorted policy margins -5, -3, -1 against sorted reference margins -9, -2, -2: x = 4, -1, 1.
    want = -torch.nn.functional.logsigmoid(0.1 * torch.tensor([1.0, 4.0, -1.0], dtype=torch.float64))
    torch.testing.assert_close(L.aot(c, r, beta=0.1, label_smoothing=0.0), want)


@pytest.mark.parametrize("z", [-1e4, -100.0, 100.0, 1e4])
def test_discopop_is_finite_where_the_product_overflows(z):
    logit = torch.tensor([z], requires_grad=True)
    zero = torch.zeros(1)
    loss = L.discopop(Side(logit, zero, logit, zero + 1), Side(zero, zero, zero, zero + 1), beta=1.0, tau=0.05)
    (grad,) = torch.autograd.grad(loss.sum(), logit)
    assert loss.isfinite().all()
    assert grad.isfinite().all()


def test_orpo_is_finite_at_probability_one():
    sure = torch.zeros(1, requires_grad=True)
    zero, one = torch.zeros(1), torch.ones(1)
    loss = L.orpo(Side(sure, zero, sure, one), Side(one * -2, zero, one * -2, one), beta=0.1)
    (grad,) = torch.autograd.grad(loss.sum(), sure)
    assert loss.isfinite().all()
    assert grad.isfinite().all()
