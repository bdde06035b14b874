from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.training.sampler import ImageSampler, order

GROUPS = st.lists(st.sampled_from("abcdef"), max_size=40)


@given(GROUPS, st.integers(0, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_order_is_a_permutation_that_depends_on_seed_and_epoch_alone(
    groups: list[str], seed: int, grouped: bool
) -> None:
    first = order(groups, seed=seed, epoch=1, grouped=grouped)
    assert sorted(first) == list(range(len(groups)))
    assert first == order(groups, seed=seed, epoch=1, grouped=grouped)


@given(GROUPS)
@settings(max_examples=60, deadline=None)
def test_grouped_order_keeps_each_image_together(groups: list[str]) -> None:
    seen = [groups[index] for index in order(groups, seed=0, epoch=0, grouped=True)]
    runs = [name for place, name in enumerate(seen) if place == 0 or seen[place - 1] != name]
    assert len(runs) == len(set(runs))


def test_epochs_differ_and_can_be_found_again() -> None:
    sampler = ImageSampler(list("aabbccddee" * 3), seed=3, grouped=False)
    zero = list(sampler)
    sampler.set_epoch(1)
    one = list(sampler)
    sampler.set_epoch(0)
    assert zero == list(sampler) != one
