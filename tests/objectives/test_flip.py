"""The objective of the recipe ``flip``: two margins, one a view, of which neither a prior nor a cue satisfies both."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.objectives import Totals, parse_objective
from medpref.recipe import load_recipe
from medpref.schema import Branch
from tests.objectives.hand import branch, scores

BRANCHES = ("clean_chosen", "clean_rejected", "corrupt_chosen", "corrupt_rejected")
MARGINS = load_recipe("flip").objective[:2]
nats = st.floats(-20, 20).map(lambda value: round(value, 3))


def cost(margin: float) -> float:
    return log(1 + exp(-0.1 * margin))


def value(loss) -> float:
    return loss.per_pair.detach().item()


def at(*moved: float, objective=MARGINS):
    """The loss of one pair whose branches have these log-ratios (in the order of BRANCHES), and their scores."""
    given_scores = scores(
        **{name: branch([[-30.0 + ratio]], [[-30.0]]) for name, ratio in zip(BRANCHES, moved, strict=True)}
    )
    totals = Totals(1, {Branch.parse(name.replace("_", "/")): 1 for name in BRANCHES})
    return parse_objective(list(objective))(given_scores, torch.ones(1), totals), given_scores


def test_by_hand_with_and_without_an_erased_film() -> None:
    given_scores = scores(
        clean_chosen=branch([[-1.0, -1.0], [-2.0]], [[-2.0, -2.0], [-2.5]]),
        clean_rejected=branch([[-4.0], [-5.0]], [[-3.0], [-3.5]]),
        corrupt_chosen=branch([[-6.0, -1.0], None], [[-4.0, -1.0], None]),
        corrupt_rejected=branch([[-1.0], None], [[-4.0], None]),
    )
    totals = Totals(2, {Branch("clean", "chosen"): 3})
    loss = parse_objective(list(load_recipe("flip").objective))(given_scores, torch.ones(2), totals)
    first = cost(2 - -1) + cost(3 - -2) + 2 * 2 / 3
    second = cost(0.5 - -1.5) + 2 * 2 / 3
    torch.testing.assert_close(loss.per_pair, torch.tensor([first, second]))


def test_it_starts_at_two_ln_2_and_the_control_at_both_replies_surprise() -> None:
    loss, _ = at(0, 0, 0, 0)
    assert value(loss) == pytest.approx(2 * log(2))
    control, _ = at(5, 0, 0, 7, objective=load_recipe("flip_control").objective)
    assert value(control) == pytest.approx(25 + 23)


@given(ratios=st.tuples(nats, nats, nats, nats))
@settings(max_examples=40, deadline=None)
def test_the_film_and_its_erased_twin_may_change_places_with_their_replies(ratios) -> None:
    chosen, rejected, erased_chosen, erased_rejected = ratios
    loss, _ = at(*ratios)
    twin, _ = at(erased_rejected, erased_chosen, rejected, chosen)
    torch.testing.assert_close(loss.per_pair, twin.per_pair)


@given(prior=nats)
@settings(max_examples=40, deadline=None)
def test_what_both_films_share_cannot_lower_it(prior: float) -> None:
    """A liking for one reply, by prior or by a cue that stays, wins one margin and loses the other: at best ln 4."""
    loss, _ = at(prior, -prior, prior, -prior)
    assert value(loss) >= 2 * log(2) - 1e-6


def test_the_gradient_at_the_reference_is_beta_half_a_branch_and_zero_for_what_both_films_share() -> None:
    loss, given_scores = at(0, 0, 0, 0)
    loss.per_pair.sum().backward()
    slope = {name: float(given_scores[Branch.parse(name.replace("_", "/"))].policy.grad) for name in BRANCHES}
    wanted = dict(zip(BRANCHES, (-0.05, 0.05, 0.05, -0.05), strict=True))
    assert slope == pytest.approx(wanted)
    assert slope["clean_chosen"] + slope["corrupt_chosen"] == pytest.approx(0)
    text, text_scores = at(0, 0, 0, 0, objective=MARGINS[:1])
    text.per_pair.sum().backward()
    assert float(text_scores[Branch("clean", "chosen")].policy.grad) == pytest.approx(-0.05)


@given(ratios=st.tuples(nats, nats, nats, nats))
@settings(max_examples=20, deadline=None)
def test_the_gradient_against_differences(ratios) -> None:
    loss, given_scores = at(*ratios)
    loss.per_pair.sum().backward()
    for index, name in enumerate(BRANCHES):
        step = [0.0] * 4
        step[index] = 0.5
        up, _ = at(*(ratio + move for ratio, move in zip(ratios, step, strict=True)))
        down, _ = at(*(ratio - move for ratio, move in zip(ratios, step, strict=True)))
        slope = float(given_scores[Branch.parse(name.replace("_", "/"))].policy.grad)
        assert slope == pytest.approx(value(up) - value(down), abs=1e-4)
