"""Places by hand, and what must hold of any outcomes: ties share a place, order changes nothing."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.bench.rank import place, ranks

NAMES = ("a", "b", "c", "d")
COUPLES = list(itertools.combinations(NAMES, 2))


def test_nothing_differs_so_everybody_may_hold_every_place() -> None:
    assert ranks(NAMES, set()) == dict.fromkeys(NAMES, (1, 4))


def test_a_total_order_gives_single_places() -> None:
    assert ranks(NAMES, set(COUPLES)) == {"a": (1, 1), "b": (2, 2), "c": (3, 3), "d": (4, 4)}


def test_one_that_beats_all_and_a_tie_behind_it() -> None:
    beats = {("a", "b"), ("a", "c"), ("a", "d"), ("b", "d")}
    assert ranks(NAMES, beats) == {"a": (1, 1), "b": (2, 3), "c": (2, 4), "d": (3, 4)}


def test_a_tie_over_a_chain_still_shares_a_place() -> None:
    beats = {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}
    found = ranks(NAMES, beats)
    assert found["d"] == (3, 4)
    assert found["a"] == (1, 3), "a ~ d: a's range is lengthened from (1, 2) to the best place of d"


def test_places_in_words() -> None:
    assert [place(rank) for rank in ((1, 1), (2, 4), None)] == ["1", "2-4", ""]


@settings(deadline=None, max_examples=120)
@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=6, max_size=6), st.permutations(NAMES))
def test_tied_names_share_a_place_and_order_changes_nothing(signs: list[int], order: list[str]) -> None:
    beats = {(a, b) if sign > 0 else (b, a) for (a, b), sign in zip(COUPLES, signs, strict=True) if sign}
    found = ranks(NAMES, beats)
    assert ranks(order, beats) == found
    for a, b in COUPLES:
        if (a, b) not in beats and (b, a) not in beats:
            assert max(found[a][0], found[b][0]) <= min(found[a][1], found[b][1])
    assert all(1 <= best <= worst <= len(NAMES) for best, worst in found.values())
