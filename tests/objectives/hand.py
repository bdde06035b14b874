"""Scores written by hand: each row is one pair's per-token log-probabilities; None is a pair without the branch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medpref.objectives import BranchScores, TokenDivergence
from medpref.schema import Branch

Rows = Sequence[Sequence[float] | None]


def table(rows: Rows) -> torch.Tensor:
    width = max((len(row) for row in rows if row), default=0)
    return torch.tensor([[*(row or ()), *[0.0] * (width - len(row or ()))] for row in rows])


def branch(
    policy: Rows,
    reference: Rows | None = None,
    *,
    spans: Rows | None = None,
    forward: Rows | None = None,
    reverse: Rows | None = None,
    cross: dict[str, Rows] | None = None,
    collision: Rows | None = None,
) -> BranchScores:
    """``reference`` defaults to zeros; ``spans`` to no span."""
    values = table(policy)
    mask = torch.zeros_like(values, dtype=torch.bool)
    for index, row in enumerate(policy):
        mask[index, : len(row or ())] = True
    return BranchScores(
        policy=values.requires_grad_(),
        reference=torch.zeros_like(values) if reference is None else table(reference),
        mask=mask,
        spans=torch.zeros_like(mask) if spans is None else table(spans).bool(),
        present=torch.tensor([row is not None for row in policy]),
        divergence=None if forward is None or reverse is None else TokenDivergence(table(forward), table(reverse)),
        cross={Branch.parse(name): table(rows) for name, rows in (cross or {}).items()},
        collision=None if collision is None else table(collision),
    )


def scores(**branches: BranchScores) -> dict[Branch, BranchScores]:
    """``clean_chosen=...`` is the branch clean/chosen."""
    return {Branch.parse(name.replace("_", "/")): value for name, value in branches.items()}
