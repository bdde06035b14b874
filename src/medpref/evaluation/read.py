"""The probe's reader: pairs in memory to log-probabilities of their branches, through the engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from medpref.engine.encode import encode_pair
from medpref.engine.features import FEATURES
from medpref.engine.images import ImageStore
from medpref.engine.pack import pack
from medpref.engine.score import score
from medpref.evaluation.probe import Read
from medpref.models.policy import Policy
from medpref.objectives.scores import Needs
from medpref.schema import Branch, PreferencePair
from medpref.store import CACHE

MAX_TOKENS = 16384


def engine_reader(policy: Policy, root: Path, *, cache: str | None = CACHE) -> Read:
    """A reader of pairs: log p of each branch's whole reply (end token included), nats; no gradients.

    Features of images are kept in the folder ``cache`` of the run; None keeps them in memory, a bounded number of them.
    """
    images = ImageStore(policy, cache=root / cache / FEATURES if cache else None)

    @torch.no_grad()
    def read(pairs: Sequence[PreferencePair]) -> list[dict[Branch, float]]:
        needs = Needs(
            branches=frozenset(Branch(view, reply) for one in pairs for view in one.views for reply in one.replies)
        )
        encoded = [encode_pair(policy, pair, root, needs, images) for pair in pairs]
        found: list[dict[Branch, float]] = [{} for _ in pairs]
        for members in pack(encoded, needs, MAX_TOKENS):
            part = [encoded[member] for member in members]
            own = Needs(branches=frozenset(branch for pair in part for branch in pair.branches))
            for branch, scores in score(policy, part, own, images=images).items():
                sums = scores.policy.double().sum(dim=1).tolist()
                for member, value, present in zip(members, sums, scores.present.tolist(), strict=True):
                    if present:
                        found[member][branch] = value
        return found

    return read
