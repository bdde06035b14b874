"""The plain loop: every branch a row through the model's own forward, full logits, nothing shared or cached.

It is the oracle (the same objective on scores made by definition) and the baseline for objectives that TRL lacks. As in
the published code of FiRe-MPO, divergences are taken at every position and masked afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from measure.ours import adapted, all_steps, optimiser_of
from measure.workloads import Data, Workload
from medpref.engine.encode import EncodedBranch, EncodedPair
from medpref.engine.forward import as_reference
from medpref.engine.images import ImageStore
from medpref.models.policy import Policy
from medpref.objectives.scores import BranchScores, TokenDivergence
from medpref.schema import Branch
from medpref.training.trainer import count


@dataclass
class Naive:
    """One arm: a pair at a time, its branches as the rows of one batch, for the policy and for the reference."""

    policy: Policy
    workload: Workload
    data: Data

    def __post_init__(self) -> None:
        self.policy = adapted(self.policy)
        self.objective = self.workload.objective
        self.optimiser = optimiser_of(self.policy.model)
        self.images = ImageStore(self.policy)
        self.images.add(self.data.images, self.data.root)

    def gradients(self, step: int = 0) -> float:
        """The loss of one optimiser step, after its backward passes."""
        self.policy.model.train()
        pairs, lost = self.data.steps[step], 0.0
        totals = count(pairs, self.objective.needs.branches)
        for pair in pairs:
            scores = self._scores(pair)
            weights = torch.ones(1, device=self.policy.base.device)
            loss = self.objective(scores, weights, totals).per_pair.sum() / totals.pairs
            loss.backward()
            lost += float(loss.detach())
        return lost

    def step(self) -> float:
        """All optimiser steps of the workload; the last loss."""
        return all_steps(self.gradients, len(self.data.steps), self.policy.model, self.optimiser)

    def close(self) -> None:
        """Nothing is kept on disk."""

    def _scores(self, pair: EncodedPair) -> dict[Branch, BranchScores]:
        needs = self.objective.needs
        names = [name for name in sorted(pair.branches) if name in needs.branches]
        lines = [pair.branches[name] for name in names]
        batch = self._batch(lines)
        with as_reference(self.policy):
            other = self.policy.model(**batch).logits[:, :-1].log_softmax(-1)
        ours = self.policy.model(**batch).logits[:, :-1].log_softmax(-1)
        found = {}
        for row, (name, line) in enumerate(zip(names, lines, strict=True)):
            start, size = len(line.prompt) - 1, len(line.reply_ids)
            said = torch.tensor(line.reply_ids, device=ours.device)[:, None]
            both = [values[row, start : start + size].gather(1, said).T for values in (ours, other)]
            found[name] = BranchScores(
                *both,
                mask=torch.ones(1, size, dtype=torch.bool, device=ours.device),
                spans=torch.tensor([line.spans], device=ours.device),
                present=torch.ones(1, dtype=torch.bool, device=ours.device),
                divergence=_diverge(ours[row], other[row], start, size) if name in needs.divergence else None,
            )
        return found

    def _batch(self, lines: list[EncodedBranch]) -> dict[str, Any]:
        longest = max(len(line.prompt) + len(line.reply_ids) for line in lines)
        ids = torch.ones(len(lines), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, line in enumerate(lines):
            whole = torch.tensor(line.prompt + line.reply_ids)
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
        pixels = torch.cat([self.images.pixels(line.images)["pixel_values"] for line in lines])
        base = self.policy.base
        given = {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels.to(base.dtype)}
        return {name: value.to(base.device) for name, value in given.items()} | {"use_cache": False}


def _diverge(ours: Tensor, other: Tensor, start: int, size: int) -> TokenDivergence:
    """Both directions at every position of a row, of which the reply's are kept."""
    forward = (other.exp() * (other - ours)).sum(-1)
    reverse = (ours.exp() * (ours - other)).sum(-1)
    return TokenDivergence(*(values[None, start : start + size] for values in (forward, reverse)))
