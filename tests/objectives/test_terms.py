"""Anchor, likelihood, token KL, TDPO, KTO, perception and consistency by hand."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch
from pydantic import ValidationError

from medpref.errors import ModelError
from medpref.objectives import KTO, TDPO, Anchor, Consistency, Likelihood, Perception, TokenDivergence, TokenKL, Totals
from medpref.schema import Branch
from tests.objectives.hand import branch, scores

C, R, CC, CR = "clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected"
NONE = Totals(0)


def s(x: float) -> float:
    return 1 / (1 + exp(-x))


def close(got: torch.Tensor, *want: float) -> None:
    torch.testing.assert_close(got.reshape(-1), torch.tensor(want))


def test_anchor_is_ln_2_at_the_reference_and_falls_as_the_branch_gains():
    given = scores(clean_chosen=branch([[-1.0, -2.0], [-1.0], None], [[-1.0, -2.0], [-6.0], None]))
    close(Anchor(branch=C)(given, NONE), log(2), -log(s(0.5)), 0.0)
    close(Anchor(branch=C, delta=0.2)(given, NONE), -log(s(-0.2)), -log(s(0.3)), 0.0)
    close(Anchor(branch=C, direction="down")(given, NONE), log(2), -log(s(-0.5)), 0.0)


def test_likelihood_has_three_means():
    given = scores(clean_chosen=branch([[-1.0, -2.0, -3.0], [-4.0], None]))
    totals = Totals(3, {Branch.parse(C): 4})
    close(Likelihood(branch=C, mean_over="pair")(given, totals), 2.0, 4.0, 0.0)
    close(Likelihood(branch=C, mean_over="batch")(given, totals), 6.0, 4.0, 0.0)
    tokens = Likelihood(branch=C)(given, totals)
    close(tokens.sum() / totals.pairs, (6 + 4) / 4)


def test_likelihood_over_tokens_needs_the_global_count():
    given = scores(clean_chosen=branch([[-1.0]]))
    with pytest.raises(ModelError, match="clean/chosen"):
        Likelihood(branch=C)(given, Totals(1))
    with pytest.raises(ValidationError, match="use pair or batch"):
        Likelihood(branch=C, tokens="spans")


def test_token_kl_adds_both_directions_over_the_selected_tokens():
    kl = {"forward": [[0.1, 0.2, 0.3], [0.4, 0.5]], "reverse": [[1.0, 2.0, 3.0], [4.0, 5.0]]}
    given = scores(clean_chosen=branch([[-1.0] * 3, [-1.0] * 2], spans=[[0, 1, 1], [0, 0]], **kl))
    close(TokenKL(branch=C, forward=0.5, reverse=0.5, tokens="spans")(given, NONE), 0.25 + 2.5, 0.0)
    close(TokenKL(branch=C, forward=1.0, tokens="outside")(given, NONE), 0.1, 0.9)
    close(TokenKL(branch=C, reverse=2.0, reduce="mean")(given, NONE), 4.0, 9.0)
    with pytest.raises(ValidationError, match="both 0"):
        TokenKL(branch=C)


def test_a_positive_token_kl_weight_pulls_the_policy_to_the_reference():
    """The sign: descending forward KL moves the policy's distribution towards the reference's."""
    logits = torch.tensor([0.0, 2.0, -1.0], requires_grad=True)
    target = torch.tensor([0.7, 0.2, 0.1])

    def kl() -> torch.Tensor:
        return (target * (target.log() - logits.log_softmax(0))).sum()

    read = replace(branch([[-1.0]]), divergence=TokenDivergence(kl().reshape(1, 1), torch.zeros(1, 1)))
    TokenKL(branch=C, forward=1.0)(scores(clean_chosen=read), NONE).sum().backward()
    before = kl().detach()
    with torch.no_grad():
        logits -= 0.5 * logits.grad
    assert kl() < before


def test_tdpo_by_hand_and_its_stopped_side():
    zero = {"reverse": [[0.0, 0.0]]}
    given = scores(
        clean_chosen=branch([[-1.0, -2.0]], [[-2.0, -3.0]], forward=[[0.3, 0.1]], **zero),
        clean_rejected=branch([[-1.0, -2.0]], [[-1.0, -1.0]], forward=[[0.5, 0.7]], **zero),
    )
    for read in given.values():
        read.divergence.forward.requires_grad_()
    loss = TDPO(better=C, worse=R, beta=0.1, alpha=0.5)(given, NONE)
    close(loss, -log(s(0.1 * (2 - -1 - 0.5 * (1.2 - 0.4)))))
    better, worse = (given[Branch.parse(name)].divergence.forward for name in (C, R))
    grads = torch.autograd.grad(loss.sum(), [better, worse], allow_unused=True)
    assert grads[0] is None
    assert (grads[1] > 0).all()


KTO_SCORES = {
    "clean_chosen": branch([[-1.0], [-2.0], None], [[-4.0], [-1.0], None]),  # D = 3, -1
    "corrupt_chosen": branch([[-1.0], None, [-2.0]], [[-2.0], None, [-5.0]]),  # D = 1, 3
    "clean_other": branch([[-3.0], [-3.0], [-3.0]], [[-3.5], [-4.0], [-3.0]]),  # D = 0.5, 1, 0
}


def test_kto_takes_its_estimate_from_mismatched_replies():
    term = KTO(better=C, worse=CC, kl="clean/other", beta=0.5, desirable_weight=2.0, undesirable_weight=3.0)
    k = 0.5
    want = (
        2 * (1 - s(0.5 * (3 - k))) + 3 * (1 - s(0.5 * (k - 1))),
        2 * (1 - s(0.5 * (-1 - k))),
        3 * (1 - s(0.5 * (k - 3))),
    )
    close(term(scores(**KTO_SCORES), NONE), *want)


def test_kto_without_mismatched_replies_takes_the_other_half():
    loss = KTO(better=C, worse=CC, beta=0.5)(scores(**KTO_SCORES), NONE)
    k_c, k_r = (1 + 3) / 2, (3 - 1) / 2
    close(loss, 1 - s(0.5 * (3 - k_c)) + 1 - s(0.5 * (k_r - 1)), 1 - s(0.5 * (-1 - k_c)), 1 - s(0.5 * (k_r - 3)))


def test_kto_estimate_is_never_negative_and_zero_without_the_half():
    given = scores(clean_chosen=branch([[-4.0]], [[-1.0]]), clean_rejected=branch([None], [None]))
    close(KTO(better=C, worse=R)(given, NONE), 1 - s(-0.3))
    given = scores(clean_chosen=branch([[-4.0]], [[-1.0]]), clean_rejected=branch([[-3.0]], [[-1.0]]))
    close(KTO(better=C, worse=R)(given, NONE), 1 - s(-0.3) + s(-0.2))  # APO-zero


def test_kto_estimate_carries_no_gradient():
    given = scores(**KTO_SCORES)
    loss = KTO(better=C, worse=CC, kl="clean/other")(given, NONE)
    other = given[Branch.parse("clean/other")].policy
    assert torch.autograd.grad(loss.sum(), other, allow_unused=True)[0] is None


def test_perception_rewards_distance_up_to_its_cap():
    given = scores(
        clean_chosen=branch([[-1.0, -1.0], [-1.0, -1.0]], spans=[[1, 0], [1, 1]], cross={CC: [[0.2, 5.0], [0.4, 0.6]]}),
        corrupt_chosen=branch([[-1.0, -1.0], None]),
    )
    close(Perception(branch=C, against=CC)(given, NONE), -(0.2 + 1.0) / 2, 0.0)
    close(Perception(branch=C, against=CC, cap=8.0, reduce="sum")(given, NONE), -5.2, 0.0)
    close(Perception(branch=C, against=CC, tokens="spans")(given, NONE), -0.2, 0.0)
    with pytest.raises(ValidationError, match="two views"):
        Perception(branch=C, against=R)
    with pytest.raises(ModelError, match=r"needs\.cross"):
        Perception(branch=C, against=CC)(scores(clean_chosen=branch([[-1.0]]), corrupt_chosen=branch([[-1.0]])), NONE)


def test_consistency_is_the_squared_difference_of_two_margins():
    one = {"clean_chosen": branch([[-1.0]], [[-3.0]]), "clean_rejected": branch([[-1.0]], [[-0.5]])}
    two = {"corrupt_rejected": branch([[-2.0]], [[-3.0]]), "corrupt_chosen": branch([[-1.0]], [[-1.0]])}
    term = Consistency(better=C, worse=R, other_better=CR, other_worse=CC)
    close(term(scores(**one, **two), NONE), (2.5 - 1.0) ** 2)
    with pytest.raises(ValidationError, match="always 0"):
        Consistency(better=C, worse=R, other_better=C, other_worse=R)
