"""KTO: each branch is a reply that is desirable or not, judged against how far the policy has moved on the whole."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from medpref.objectives.scores import Needs, Scores, Totals
from medpref.objectives.term import BranchField, Comparison, Term
from medpref.objectives.tokens import reference, total
from medpref.registry import TERMS
from medpref.schema import Branch


@TERMS.add
class KTO(Term):
    """``desirable_weight * s(b (K_c - D_c)) + undesirable_weight * s(b (D_r - K_r))``, KTO (arXiv:2402.01306, eq. 7).

    ``D = L - R`` over the whole reply, b = beta. ``K >= 0`` estimates KL(policy || reference) on the batch, without
    gradient; a reply counts as gained only beyond it:

    - with ``kl``, a branch whose reply was written for *another* example (the paper's mismatched pairs; TRL's
      ``KL_completion_ids``): ``K_c = K_r = max(0, mean of D_kl over the pairs that have it)``;
    - without it, from the other half: ``K_c = max(0, mean D_r)`` and ``K_r = max(0, mean D_c)``, as the first release
      of KTO and TRL's former ``kto_pair`` did. No extra forward pass, but matched replies are the very ones being
      trained, so the estimate drifts with the margin.

    A half that no pair of the batch has gives ``K = 0`` (APO-zero's form). The loss is a sum over the two sides, each
    side one KTO example, so a pair with both counts twice where TRL's mean over examples counts each once: for TRL's
    scale write ``weight: 0.5``. Unpaired: a pair that lacks a branch loses that side only. Either side may be any view,
    so a corrupted image under an unchanged reply is an undesirable example. The estimate is over one micro-step:
    ``batchwise``. Pair weights multiply a pair's losses, not the estimate.
    """

    kind: Literal["kto"] = "kto"
    better: BranchField
    worse: BranchField
    beta: float = Field(default=0.1, gt=0)
    desirable_weight: float = Field(default=1.0, gt=0)
    undesirable_weight: float = Field(default=1.0, gt=0)
    kl: BranchField | None = Field(default=None, description="branch of mismatched replies that estimates the KL")

    @model_validator(mode="after")
    def _distinct(self) -> KTO:
        if self.kl in (self.better, self.worse) or self.better == self.worse:
            raise ValueError("better, worse and kl must be different branches")
        return self

    @property
    def needs(self) -> Needs:
        branches = frozenset({self.better, self.worse} | ({self.kl} if self.kl else set()))
        return Needs(branches=branches, reference=branches)

    @property
    def name(self) -> str:
        return f"kto({self.better}|{self.worse})"

    @property
    def batchwise(self) -> bool:
        return True

    @property
    def optional(self) -> frozenset[Branch]:
        return self.needs.branches

    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        better, worse = _ratio(scores, self.better), _ratio(scores, self.worse)
        moved_c = _moved(scores, self.kl or self.worse)
        moved_r = _moved(scores, self.kl or self.better)
        gain = self.desirable_weight * torch.sigmoid(self.beta * (moved_c - better))
        harm = self.undesirable_weight * torch.sigmoid(self.beta * (worse - moved_r))
        return gain.where(scores[self.better].present, 0) + harm.where(scores[self.worse].present, 0)

    def compare(self, scores: Scores) -> Comparison:
        rewards = (self.beta * _ratio(scores, branch).detach() for branch in (self.better, self.worse))
        return Comparison(self.better, self.worse, *rewards)


def _ratio(scores: Scores, branch: Branch) -> Float[Tensor, " pair"]:
    return total(scores[branch].policy - reference(scores, branch), scores[branch].mask)


def _moved(scores: Scores, branch: Branch) -> Float[Tensor, ""]:
    """``max(0, mean D)`` over the pairs that have the branch, without gradient; 0 if none has."""
    present = scores[branch].present
    ratio = _ratio(scores, branch).detach().where(present, 0)
    return (ratio.sum() / present.sum().clamp(min=1)).clamp(min=0)
