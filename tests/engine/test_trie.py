"""The forest against brute force."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.engine.trie import build_forest, common_prefix

LINES = st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 2), min_size=1, max_size=7)), max_size=9)


def test_by_hand():
    forest = build_forest([("x", [5, 6, 7]), ("y", [5, 6]), ("x", [5, 6, 8, 9]), ("x", [5, 6, 7])])
    assert forest.tokens.tolist() == [5, 6, 7, 8, 9, 5, 6]
    assert forest.parent.tolist() == [-1, 0, 1, 1, 3, -1, 5]
    assert forest.last.tolist() == [4, 4, 2, 4, 4, 6, 6]
    assert forest.depth.tolist() == [0, 1, 2, 2, 3, 0, 1]
    assert forest.starts.tolist() == [0, 5, 7]
    assert [path.tolist() for path in forest.paths] == [[0, 1, 2], [5, 6], [0, 1, 3, 4], [0, 1, 2]]


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_every_sequence_is_recovered_and_every_prefix_is_one_node(lines):
    forest = build_forest(lines)
    for (_, ids), path in zip(lines, forest.paths, strict=True):
        assert forest.tokens[path].tolist() == ids
        assert forest.depth[path].tolist() == list(range(len(ids)))
        assert forest.parent[path].tolist() == [-1, *path[:-1].tolist()]
    prefixes = {(key, tuple(ids[: end + 1])) for key, ids in lines for end in range(len(ids))}
    assert forest.nodes == len(prefixes) <= sum(len(ids) for _, ids in lines)


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_mask_is_the_ancestor_relation(lines):
    forest = build_forest(lines)
    ancestor = np.zeros((forest.nodes, forest.nodes), bool)
    for node in range(forest.nodes):
        at = node
        while at >= 0:
            ancestor[node, at] = True
            at = forest.parent[at]
    assert (forest.visible() == ancestor).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1), max_size=6), st.lists(st.integers(0, 1), max_size=6))
def test_common_prefix(first, second):
    expected = 0
    while expected < min(len(first), len(second)) and first[expected] == second[expected]:
        expected += 1
    assert common_prefix(np.asarray(first), np.asarray(second)) == expected


def test_a_large_forest_is_quick():
    """32 studies x 8 questions x 2 replies with a 100-token prefix: well under 20 ms on one core."""
    rng = np.random.default_rng(0)
    lines = []
    for study in range(32):
        for _ in range(8):
            question = [9] * 100 + rng.integers(0, 50, 20).tolist()
            lines += [(study, question + rng.integers(0, 50, 15).tolist()) for _ in range(2)]
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        build_forest(lines)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.1, min(seconds)
