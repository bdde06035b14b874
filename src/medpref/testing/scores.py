"""Random scores for contract suites, and the ways in which a suite disturbs them.

Log-ratios are small unless asked otherwise, so that no link saturates; lengths differ, every reply has tokens inside
and outside spans, and every tensor is a leaf that requires a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from medpref.objectives.scores import BranchScores, Needs, Scores, TokenDivergence, Totals
from medpref.schema import Branch

PAIRS, TOKENS = 5, 7


def random_scores(needs: Needs, *, seed: int = 0, spread: float = 0.3) -> dict[Branch, BranchScores]:
    """Scores of five pairs with exactly what ``needs`` declares, as leaves that require a gradient.

    ``spread``: standard deviation of the per-token log-ratio, nats. Views of one reply share its tokens.
    """
    rng = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[Tensor, Tensor]] = {}
    scores: dict[Branch, BranchScores] = {}
    for branch in sorted(needs.branches):
        if branch.reply not in shapes:
            lengths = torch.randint(2, TOKENS + 1, (PAIRS, 1), generator=rng)
            mask = torch.arange(TOKENS) < lengths
            shapes[branch.reply] = mask, mask & (torch.arange(TOKENS) % 2 == 0)
        mask, spans = shapes[branch.reply]

        def draw(low: float, high: float, mask: Tensor = mask) -> Tensor:
            values = torch.rand(mask.shape, generator=rng) * (high - low) + low
            return (values * mask).requires_grad_()

        policy = draw(-1.5, -0.1)
        noise = spread * torch.randn(mask.shape, generator=rng)
        scores[branch] = BranchScores(
            policy=policy,
            reference=(policy.detach() + noise * mask).requires_grad_() if branch in needs.reference else None,
            mask=mask,
            spans=spans,
            present=torch.ones(PAIRS, dtype=torch.bool),
            divergence=TokenDivergence(draw(0.1, 0.9), draw(0.1, 0.9)) if branch in needs.divergence else None,
            cross={second: draw(0.1, 0.6) for first, second in sorted(needs.cross) if first == branch},
            collision=draw(-1.0, -0.1) if branch in needs.collision else None,
        )
    return scores


def totals_of(scores: Scores) -> Totals:
    """The counts of a batch that consists of these scores alone."""
    return Totals(PAIRS, {branch: int(read.mask.sum()) for branch, read in scores.items()})


def leaves(scores: Scores) -> Iterator[tuple[str, Tensor]]:
    """Every float tensor of some scores by name, such as ``clean/chosen.policy``."""
    for branch, read in scores.items():
        yield f"{branch}.policy", read.policy
        if read.reference is not None:
            yield f"{branch}.reference", read.reference
        if read.divergence is not None:
            yield f"{branch}.forward", read.divergence.forward
            yield f"{branch}.reverse", read.divergence.reverse
        if read.collision is not None:
            yield f"{branch}.collision", read.collision
        for other, values in read.cross.items():
            yield f"{branch}.cross.{other}", values


def gradients(loss: Tensor, scores: Scores) -> dict[str, Tensor]:
    """The gradient of the summed loss into every leaf, 0 where there is none."""
    keys, values = zip(*leaves(scores), strict=True)
    grads = torch.autograd.grad(loss.sum(), values, allow_unused=True, retain_graph=True)
    return {k: torch.zeros_like(v) if g is None else g for k, v, g in zip(keys, values, grads, strict=True)}


def mapped(read: BranchScores, change: Callable[[Tensor], Tensor], *, present: Tensor | None = None) -> BranchScores:
    """The scores with a function applied to every pair-by-token tensor, and ``present`` replaced if given."""
    kl = read.divergence
    return replace(
        read,
        policy=change(read.policy),
        reference=None if read.reference is None else change(read.reference),
        mask=change(read.mask),
        spans=change(read.spans),
        present=read.present if present is None else present,
        divergence=None if kl is None else TokenDivergence(change(kl.forward), change(kl.reverse)),
        cross={other: change(values) for other, values in read.cross.items()},
        collision=None if read.collision is None else change(read.collision),
    )


def pad(values: Tensor) -> Tensor:
    """Three more columns of padding."""
    return torch.cat([values, torch.zeros(len(values), 3, dtype=values.dtype)], dim=1)


def pick(scores: Scores, rows: Tensor) -> dict[Branch, BranchScores]:
    """Some pairs of the batch, in the given order."""
    return {b: mapped(read, lambda v: v[rows], present=read.present[rows]) for b, read in scores.items()}


def without(scores: Scores, branches: frozenset[Branch] | set[Branch], *, rows: Tensor) -> dict[Branch, BranchScores]:
    """Leaves in which some rows lack some branches: all False and 0, divergences across views included."""

    def blank(values: Tensor) -> Tensor:
        out = values.detach().clone()
        out[rows] = 0
        return out.requires_grad_() if values.is_floating_point() else out

    out = {}
    for branch, read in scores.items():
        if branch in branches:
            out[branch] = mapped(read, blank, present=read.present.index_fill(0, rows, False))
        else:
            cross = {other: blank(v) if other in branches else v for other, v in read.cross.items()}
            out[branch] = replace(read, cross=cross)
    return out
