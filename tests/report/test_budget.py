"""What is taken when not everything fits, and JSON that cannot leave its script element."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from medpref import store
from medpref.report.budget import fit, spread
from medpref.report.pack import script_json


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 400))
def test_spread_is_a_permutation(count: int) -> None:
    assert sorted(spread(count)) == list(range(count))


@settings(deadline=None, max_examples=80)
@given(st.integers(20, 400), st.integers(5, 20))
def test_every_beginning_of_a_spread_lies_evenly(count: int, taken: int) -> None:
    chosen = sorted(spread(count)[:taken])
    gaps = [after - before for before, after in zip([0, *chosen], [*chosen, count], strict=True)]
    assert max(gaps) <= 3 * count / taken + 1


@settings(deadline=None, max_examples=80)
@given(st.lists(st.text(max_size=20), max_size=30), st.integers(0, 400))
def test_what_fits_is_in_order_and_within_the_budget(items: list[str], budget: int) -> None:
    chosen = fit(list(enumerate(items)), lambda item: {"text": item[1]}, budget=budget)
    assert sum(len(store.to_json(entry).encode()) + 1 for _, entry in chosen) <= budget
    places = [place for (place, _), _ in chosen]
    assert places == sorted(set(places))
    assert all(entry == {"text": items[place]} for (place, _), entry in chosen)


def test_everything_fits_where_the_budget_allows() -> None:
    assert [item for item, _ in fit([3, 1, 2], lambda item: {"n": item}, budget=1000)] == [3, 1, 2]


@settings(deadline=None, max_examples=80)
@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_script_json_is_the_same_value_and_holds_no_markup(value: object) -> None:
    text = script_json(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")
