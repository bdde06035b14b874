"""The weighted sum, its names, its weights, and what a recipe may say."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from medpref.errors import RecipeError
from medpref.objectives import Totals, parse_objective, rewards
from medpref.schema import Branch
from medpref.testing.scores import pick, random_scores, totals_of, without
from tests.objectives.hand import branch, scores

C, R, CC, CR = "clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected"
DPO = {"kind": "margin", "better": C, "worse": R}
FIRE = [
    {"kind": "margin", "better": C, "worse": R, "tokens": "spans", "beta": 0.1},
    {"kind": "margin", "better": CR, "worse": CC, "tokens": "spans", "beta": 0.1, "weight": 0.1},
    {"kind": "token_kl", "branch": C, "tokens": "spans", "forward": 0.5, "reverse": 0.5, "weight": 0.01},
]


def at_reference(*names: str):
    return scores(**{name.replace("/", "_"): branch([[-1.0, -2.0], [-3.0]], [[-1.0, -2.0], [-3.0]]) for name in names})


def test_mdpo_starts_at_three_ln_2():
    mdpo = parse_objective([DPO, {**DPO, "worse": CC}, {"kind": "anchor", "branch": C}])
    loss = mdpo(at_reference(C, R, CC), torch.ones(2), Totals(2))
    torch.testing.assert_close(loss.per_pair, torch.tensor([2.0794415, 2.0794415]))
    assert [float(part[0]) for part in loss.parts.values()] == pytest.approx([log(2)] * 3)
    assert list(loss.parts) == [f"margin({C}>{R})", f"margin({C}>{CC})", f"anchor({C})"]


def test_fire_mpo_by_hand_with_and_without_the_corrupt_view():
    """fire_mpo.md 4.1: both pairs have spans; the second has no corrupt view and still counts in the mean."""
    given = scores(
        clean_chosen=branch(
            [[-1.0, -2.0], [-1.0]],
            [[-5.0, -2.5], [-2.0]],
            spans=[[0, 1], [1]],
            forward=[[9.0, 0.2], [0.3]],
            reverse=[[9.0, 0.4], [0.1]],
        ),
        clean_rejected=branch([[-3.0], [-2.0]], [[-2.0], [-1.0]], spans=[[1], [1]]),
        corrupt_chosen=branch([[-1.0, -4.0], None], [[-1.0, -3.0], None], spans=[[0, 1], [0, 0]]),
        corrupt_rejected=branch([[-1.0], None], [[-3.0], None], spans=[[1], [0]]),
    )
    loss = parse_objective(FIRE)(given, torch.ones(2), Totals(2))

    def cost(margin: float) -> float:
        return log(1 + exp(-0.1 * margin))

    first = cost(0.5 - -1) + 0.1 * cost(2 - -1) + 0.01 * (0.5 * 0.2 + 0.5 * 0.4)
    second = cost(1 - -1) + 0.01 * (0.5 * 0.3 + 0.5 * 0.1)
    torch.testing.assert_close(loss.per_pair, torch.tensor([first, second]))


def test_pair_weights_multiply_the_whole_pair_and_parts_stay_plain():
    objective = parse_objective([DPO, {"kind": "likelihood", "branch": C, "mean_over": "pair", "weight": 0.5}])
    given = at_reference(C, R)
    plain = objective(given, torch.ones(2), Totals(2))
    weighted = objective(given, torch.tensor([0.0, 3.0]), Totals(2))
    torch.testing.assert_close(weighted.per_pair, plain.per_pair * torch.tensor([0.0, 3.0]))
    torch.testing.assert_close(plain.per_pair, torch.tensor([log(2) + 0.5 * 1.5, log(2) + 0.5 * 3.0]))
    assert not any(part.requires_grad for part in weighted.parts.values())
    for name, part in weighted.parts.items():
        torch.testing.assert_close(part, plain.parts[name])


MIXED = [
    DPO,
    {"kind": "margin", "better": C, "worse": CC, "weight": 0.3},
    {"kind": "likelihood", "branch": C},
    {"kind": "likelihood", "branch": R, "mean_over": "batch", "weight": 0.1},
    {"kind": "token_kl", "branch": C, "forward": 1.0, "weight": 0.01},
]


@pytest.mark.parametrize("split", [[[0], [1, 2, 3, 4]], [[4, 2], [0, 1], [3]], [[0], [1], [2], [3], [4]]])
def test_the_gradient_does_not_depend_on_micro_steps(split):
    objective = parse_objective(MIXED)
    given = without(random_scores(objective.needs, seed=3), {Branch.parse(CC)}, rows=torch.tensor([2]))
    weights = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.0])
    totals = totals_of(given)
    leaves = [read.policy for read in given.values()]
    whole = torch.autograd.grad(objective(given, weights, totals).per_pair.sum() / totals.pairs, leaves)
    summed = [torch.zeros_like(leaf) for leaf in leaves]
    for rows in map(torch.tensor, split):
        part = objective(pick(given, rows), weights[rows], totals).per_pair.sum() / totals.pairs
        for total, grad in zip(summed, torch.autograd.grad(part, leaves), strict=True):
            total += grad
    for one, two in zip(whole, summed, strict=True):
        torch.testing.assert_close(one, two)


def test_needs_is_the_union_of_what_terms_read():
    needs = parse_objective(FIRE).needs
    assert {str(b) for b in needs.branches} == {C, R, CC, CR}
    assert needs.reference == needs.branches
    assert {str(b) for b in needs.divergence} == {C}
    sft = parse_objective([{"kind": "likelihood", "branch": C}]).needs
    assert {str(b) for b in sft.branches} == {C}
    assert not sft.reference


def test_a_name_clash_gets_a_suffix():
    twice = parse_objective([DPO, {**DPO, "beta": 0.5}, {**DPO, "link": "bco_pair"}, DPO])
    name = f"margin({C}>{R})"
    assert twice.names == (name, f"{name}#2", f"margin.bco_pair({C}>{R})", f"{name}#3")
    loss = twice(at_reference(C, R), torch.ones(2), Totals(2))
    assert list(loss.parts) == list(twice.names)


def test_a_term_of_weight_zero_is_left_out():
    objective = parse_objective([DPO, {**DPO, "worse": CC, "weight": 0}])
    assert {str(b) for b in objective.needs.branches} == {C, R}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "at least one"),
        ([{**DPO, "weight": 0}], "at least one"),
        ([{**DPO, "weight": -1}], "exchange better and worse"),
        ([{**DPO, "weight": "heavy"}], "finite number"),
        ([{**DPO, "weight": True}], "finite number"),
        ([{**DPO, "weight": float("nan")}], "finite number"),
        ([DPO, {**DPO, "kind": "margn"}], r"objective\[1\].*did you mean 'margin'"),
        ([{**DPO, "wieght": 1}], "unknown key 'wieght'"),
        ([{"kind": "margin", "better": C}], "worse"),
    ],
)
def test_a_wrong_recipe_is_named(config, message):
    with pytest.raises(RecipeError, match=message):
        parse_objective(config, "recipe x, objective")


@pytest.mark.parametrize("link", ["aot", "aot_unpaired"])
def test_aot_refuses_pair_weights_and_says_why(link):
    objective = parse_objective([{**DPO, "link": link}])
    assert objective.batchwise
    given = at_reference(C, R)
    assert objective(given, torch.ones(2), Totals(2)).per_pair.shape == (2,)
    with pytest.raises(RecipeError, match="a sorted loss belongs to no pair"):
        objective(given, torch.tensor([1.0, 0.5]), Totals(2))


def test_rewards_of_the_first_comparison():
    objective = parse_objective([{"kind": "anchor", "branch": C}, {**DPO, "beta": 0.5}, {**DPO, "worse": CC}])
    given = scores(
        clean_chosen=branch([[-1.0, -2.0], [-3.0], [-1.0]], [[-3.0, -3.0], [-2.0], [-1.0]]),
        clean_rejected=branch([[-2.0], [-1.0], None], [[-1.0], [-1.5], None]),
        corrupt_chosen=branch([[-1.0], [-1.0], [-1.0]]),
    )
    nan = float("nan")
    want = {
        "rewards/chosen": [1.5, -0.5, 0.0],
        "rewards/rejected": [-0.5, 0.25, nan],
        "rewards/margins": [2.0, -0.75, nan],
        "rewards/accuracies": [1.0, 0.0, nan],
        "logps/chosen": [-3.0, -3.0, -1.0],
        "logps/rejected": [-2.0, -1.0, nan],
    }
    got = rewards(objective, given)
    assert list(got) == list(want)
    for name, values in want.items():
        torch.testing.assert_close(got[name], torch.tensor(values), equal_nan=True)
        assert not got[name].requires_grad


@pytest.mark.parametrize(
    "term",
    [
        {**DPO, "link": "simpo", "beta": 2.0},
        {**DPO, "link": "cpo"},
        {"kind": "kto", "better": C, "worse": R},
        {"kind": "tdpo", "better": C, "worse": R},
    ],
)
def test_every_comparing_term_has_rewards(term):
    objective = parse_objective([term])
    got = rewards(objective, random_scores(objective.needs))
    assert len(got) == 6
    assert all(values.isfinite().all() for values in got.values())


def test_rewards_of_a_likelihood_alone_are_its_log_probabilities():
    given = scores(clean_chosen=branch([[-1.0, -2.0]]), corrupt_rejected=branch([[-4.0]]))
    sft = parse_objective([{"kind": "likelihood", "branch": CR}, {"kind": "likelihood", "branch": C}])
    assert {name: float(value) for name, value in rewards(sft, given).items()} == {"logps/chosen": -3.0}
    other = parse_objective([{"kind": "likelihood", "branch": CR}])
    assert float(rewards(other, given)["logps/chosen"]) == -4.0
