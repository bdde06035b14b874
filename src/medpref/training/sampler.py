"""The order in which pairs are read: seeded, by epoch, pairs of one image together so that tries are deep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from medpref.seeds import generator


def order(groups: Sequence[str], *, seed: int, epoch: int, grouped: bool) -> list[int]:
    """A permutation of ``range(len(groups))``; where ``grouped``, indices of one group follow each other.

    Groups are shuffled, and so is each group's inside; the same seed and epoch give the same order.
    """
    rng = generator(seed, "order", str(epoch))
    indices = rng.permutation(len(groups))
    if not grouped:
        return [int(index) for index in indices]
    first: dict[str, int] = {}
    for place, index in enumerate(indices):
        first.setdefault(groups[index], place)
    rank = np.array([first[groups[index]] for index in indices])
    return [int(index) for index in indices[np.argsort(rank, kind="stable")]]


class ImageSampler(Sampler[int]):
    """A sampler over pairs that a checkpoint can find again: its order depends on seed and epoch alone."""

    def __init__(self, groups: Sequence[str], *, seed: int, grouped: bool) -> None:
        self.groups, self.seed, self.grouped, self.epoch = list(groups), seed, grouped, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(order(self.groups, seed=self.seed, epoch=self.epoch, grouped=self.grouped))

    def __len__(self) -> int:
        return len(self.groups)
