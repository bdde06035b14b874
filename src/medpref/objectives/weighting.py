"""Token and pair weights that a margin computes from the scores themselves: span weight, LD-DPO, WPO."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medpref.objectives.scores import BranchScores, Scores
from medpref.objectives.tokens import collision, total
from medpref.schema import Branch


def span_weighted(
    scores: BranchScores, keep: Bool[Tensor, "pair token"], *, span_weight: float
) -> Float[Tensor, "pair token"]:
    """1 at kept tokens, ``span_weight`` at kept tokens of a span: dense DPO (RLHF-V, arXiv:2312.00849)."""
    ones = keep.to(scores.policy.dtype)
    return ones if span_weight == 1 else torch.where(keep & scores.spans, span_weight, ones)


def length_desensitised(
    mask: Bool[Tensor, "pair token"], other: Bool[Tensor, "pair other_token"], *, alpha: float
) -> Float[Tensor, "pair token"]:
    """1 at a reply's first ``min(n, n_other)`` tokens and ``alpha`` at the rest: LD-DPO (arXiv:2409.06411).

    Applied to policy and reference alike, as TRL does since 0.29 (the policy only, before).
    """
    place = mask.cumsum(1)
    shared = torch.minimum(mask.sum(1), other.sum(1)).unsqueeze(1)
    return torch.where(place > shared, alpha, 1.0).to(torch.float32) * mask


def on_policy_weight(scores: Scores, branch: Branch) -> Float[Tensor, " pair"]:
    """``exp mean_t (log p_t - log sum_v p_v^2)``, no gradient (WPO with aligned weights, arXiv:2406.11827, eq. 2).

    How probable a reply is for the policy now, relative to a reply drawn from it. Over the whole reply, whatever tokens
    the margin selects, because it is the reply that is on or off policy.
    """
    read = scores[branch]
    return torch.exp(total(read.policy.detach() - collision(scores, branch), read.mask, reduce="mean"))
