"""A term that keeps one branch's likelihood above (or below) the reference's."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medpref.objectives.scores import Needs, Scores, Totals
from medpref.objectives.term import BranchField, Term
from medpref.objectives.tokens import Tokens, reference, selected, total
from medpref.registry import TERMS


@TERMS.add
class Anchor(Term):
    """``-log s(beta D - delta)`` with ``D = sum log policy - sum log reference`` of one branch.

    mDPO (arXiv:2406.11839) anchors the chosen reply, ``delta`` 0, so that it does not become less likely while
    the margin grows. ``direction: down`` is ``-log s(-beta D - delta)``, for a branch that should stay unlikely
    (mDPO's ablation on rejected replies and images).
    """

    kind: Literal["anchor"] = "anchor"
    branch: BranchField
    delta: float = Field(default=0.0, description="nats times beta")
    beta: float = Field(default=0.1, gt=0)
    tokens: Tokens = "all"
    direction: Literal["up", "down"] = "up"

    @property
    def needs(self) -> Needs:
        return Needs(branches=frozenset({self.branch}), reference=frozenset({self.branch}))

    @property
    def name(self) -> str:
        return f"anchor({self.branch})"

    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        branch = scores[self.branch]
        keep = selected(branch, self.tokens)
        ratio = total(branch.policy - reference(scores, self.branch), keep)
        sign = 1.0 if self.direction == "up" else -1.0
        return (-F.logsigmoid(sign * self.beta * ratio - self.delta)).where(keep.any(1), 0)
