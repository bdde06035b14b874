from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.curation.difference import BETWEEN, OVER_TIME, difference, sign_of, turned
from medpref.schema import Fact

SEVERITIES = (None, "small", "moderate", "large", "mild", "severe", "odd")
NONE = Fact(finding="pleural effusion", present=False, side="either")


def effusion(severity: str | None = None, *, count: int | None = None, present: bool = True) -> Fact:
    return Fact(finding="pleural effusion", severity=severity, count=count, present=present)


PRESENT = (True, True, True, False)
facts = st.builds(
    effusion, st.sampled_from(SEVERITIES), count=st.sampled_from([None, 1, 2, 3]), present=st.sampled_from(PRESENT)
)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (effusion("small"), effusion("large"), 1),
        (effusion("large"), effusion("moderate"), -1),
        (effusion("mild"), effusion("small"), 0),
        (effusion("small"), NONE, -1),
        (NONE, effusion(), 1),
        (NONE, NONE, 0),
        (effusion(), effusion(), None),
        (effusion("small"), effusion(), None),
        (effusion("odd"), effusion("large"), None),
        (effusion(count=1), effusion(count=3), 1),
        (effusion(count=2), effusion(count=2), 0),
        (effusion(count=2), effusion(), None),
        (effusion("small", count=3), effusion("large", count=1), 1),
    ],
)
def test_differences_by_hand(first: Fact, second: Fact, expected: int | None) -> None:
    assert difference(first, second) == expected


@given(first=facts, second=facts)
@settings(deadline=None)
def test_a_difference_turns_round_with_the_images(first: Fact, second: Fact) -> None:
    there, back = difference(first, second), difference(second, first)
    assert (there is None and back is None) or there == -back
    assert difference(first, first) in (0, None)


@given(first=facts, second=facts, wanted=st.sampled_from([-1, 0, 1]), seed=st.integers(0, 9))
@settings(deadline=None)
def test_one_fact_is_turned_so_that_the_two_differ_as_wanted(first: Fact, second: Fact, wanted: int, seed: int) -> None:
    first, second = (fact.model_copy(update={"image": index}) for index, fact in enumerate((first, second)))
    known = [effusion("small"), effusion("moderate"), effusion("large")]
    rng = np.random.default_rng(seed)
    found = turned((first, second), wanted, known=known, absent=NONE, rng=rng)
    if found is not None:
        assert difference(*found) == wanted
        assert sum(new != old for new, old in zip(found, (first, second), strict=True)) <= 1
        assert [fact.image for fact in found] == [0, 1]
    graded = all(fact.severity in ("small", "moderate", "large") or not fact.present for fact in (first, second))
    held = difference(first, second)
    assert found is not None or not graded or held == wanted or {held, wanted} == {-1, 1}


def test_what_one_change_cannot_do() -> None:
    """From less to more one must pass by more than the largest or less than none."""
    rng = np.random.default_rng(0)
    assert turned((NONE, NONE), -1, known=[], absent=NONE, rng=rng) is None
    [*_, second] = turned((NONE, NONE), 1, known=[effusion("small")], absent=NONE, rng=rng) or ()
    assert second.severity == "small"


@pytest.mark.parametrize(("words", "signs"), [(OVER_TIME, (-1, 0, 1)), (BETWEEN, (-1, 0, 1)), (("left",), (None,))])
def test_the_words_of_answers(words, signs) -> None:
    assert tuple(sign_of(word.capitalize() + ".") for word in words) == signs
