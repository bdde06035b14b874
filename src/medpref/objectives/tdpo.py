"""Token-level DPO: a margin that also balances how far the policy has moved along each reply."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from medpref.objectives.scores import Needs, Scores, Totals
from medpref.objectives.term import BranchField, Comparison, Term
from medpref.objectives.tokens import divergence, reference, total
from medpref.registry import TERMS
from medpref.schema import Branch


@TERMS.add
class TDPO(Term):
    """``-log s(b (D_c - D_r - a (K_r - stop(K_c))))``, TDPO-2 (arXiv:2404.11999, section 4).

    ``K = sum_t KL(reference || policy)_t`` over the whole reply, full vocabulary; a = alpha. ``stop`` cuts the gradient
    on the *better* side, as the authors' code does: the term pulls the worse reply's divergence down towards the better
    one's and never raises the better one's. alpha 0 is DPO and is refused, because it would compute divergences for
    nothing.
    """

    kind: Literal["tdpo"] = "tdpo"
    better: BranchField
    worse: BranchField
    beta: float = Field(default=0.1, gt=0)
    alpha: float = Field(default=0.5, gt=0)

    @model_validator(mode="after")
    def _distinct(self) -> TDPO:
        if self.better == self.worse:
            raise ValueError("better and worse are the same branch, so the margin is always 0")
        return self

    @property
    def needs(self) -> Needs:
        both = frozenset({self.better, self.worse})
        return Needs(branches=both, reference=both, divergence=both)

    @property
    def name(self) -> str:
        return f"tdpo({self.better}>{self.worse})"

    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        moved_c = total(divergence(scores, self.better).forward, scores[self.better].mask).detach()
        moved_r = total(divergence(scores, self.worse).forward, scores[self.worse].mask)
        margin = self._ratio(scores, self.better) - self._ratio(scores, self.worse)
        both = scores[self.better].present & scores[self.worse].present
        return (-F.logsigmoid(self.beta * (margin - self.alpha * (moved_r - moved_c)))).where(both, 0)

    def compare(self, scores: Scores) -> Comparison:
        """``beta D`` of each side; the authors' code logs ``beta (D + K)``."""
        rewards = (self.beta * self._ratio(scores, branch).detach() for branch in (self.better, self.worse))
        return Comparison(self.better, self.worse, *rewards)

    def _ratio(self, scores: Scores, branch: Branch) -> Float[Tensor, " pair"]:
        return total(scores[branch].policy - reference(scores, branch), scores[branch].mask)
