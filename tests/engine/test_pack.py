"""Packs hold the budget, lose nothing, keep images together, and do not change the gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.engine.encode import EncodedBranch, EncodedPair
from medpref.engine.images import ImageStore
from medpref.engine.pack import count_nodes, pack
from medpref.engine.score import score
from medpref.engine.trie import build_forest
from medpref.errors import DataError
from medpref.objectives.scores import Needs

from .plain import CC, CR, XC, encode_all, gradients, relative, tiny_policy

NEEDS = Needs(branches=frozenset({CC, CR}), reference=frozenset({XC}))
TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=5)


def line(name, image, prompt, reply):
    return EncodedBranch(*name, (image,), tuple(prompt), tuple(reply), (True,) * len(reply))


def make_pair(number, image, prompt, chosen, rejected, view):
    branches = {CC: line(CC, image, prompt, chosen), CR: line(CR, image, prompt, rejected)}
    return EncodedPair(f"p{number}", 1.0, branches | ({XC: line(XC, "z", prompt, chosen)} if view else {}))


PAIRS = st.lists(st.tuples(st.sampled_from("ab"), TOKENS, TOKENS, TOKENS, st.booleans()), max_size=8).map(
    lambda drawn: [make_pair(number, *given) for number, given in enumerate(drawn)]
)


def nodes(pairs):
    return build_forest([(one.images, one.read) for pair in pairs for one in pair.branches.values()]).nodes


@settings(max_examples=150, deadline=None)
@given(PAIRS, st.integers(27, 60))
def test_every_pair_once_within_the_budget(pairs, budget):
    packs = pack(pairs, NEEDS, budget)
    assert sorted(index for group in packs for index in group) == list(range(len(pairs)))
    assert count_nodes(pairs, NEEDS) == nodes(pairs)
    for group in packs:
        assert 0 < nodes([pairs[index] for index in group]) <= budget


def test_pairs_of_one_image_stand_together():
    pairs = [make_pair(number, "ab"[number % 2], [1, 2], [number + 3], [9], False) for number in range(6)]
    assert pack(pairs, NEEDS, 1000) == [[0, 2, 4, 1, 3, 5]]


def test_a_pair_that_cannot_fit_is_named():
    pairs = [make_pair(3, "a", range(50), [1, 2], [2, 3], False)]
    with pytest.raises(DataError, match=r"pair 'p3': 52 distinct tokens \(longest branch 51\); expected .* = 40"):
        pack(pairs, NEEDS, 40)


def test_the_gradient_does_not_depend_on_the_split(root, pairs):
    policy = tiny_policy("llava-mistral")
    store = ImageStore(policy)
    needs = Needs(branches=frozenset({CC, CR, XC}))
    encoded = encode_all(policy, root, pairs, needs, store)

    def loss(group):
        scores = score(policy, [encoded[index] for index in group], needs, images=store)
        return sum(held.policy.sum(1).pow(2).sum() for held in scores.values()) / len(encoded)

    whole = gradients(policy, loss(range(len(encoded))))
    for budget in (220, 300):
        packs = pack(encoded, needs, budget)
        assert len(packs) > 1
        total = {key: torch.zeros_like(value) for key, value in whole.items()}
        for group in packs:
            for key, value in gradients(policy, loss(group)).items():
                total[key] += value
        assert relative(total, whole) < 1e-12
