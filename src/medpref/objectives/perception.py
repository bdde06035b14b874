"""A reward for reading the image: the policy should predict a reply differently when the evidence is gone."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from medpref.errors import ModelError
from medpref.objectives.scores import Needs, Scores, Totals
from medpref.objectives.term import BranchField, Term
from medpref.objectives.tokens import Tokens, selected, total
from medpref.registry import TERMS


@TERMS.add
class Perception(Term):
    """``-mean_t min(KL(policy(.|branch) || policy(.|against))_t, cap)``; at most 0, at least -cap.

    PAPO (arXiv:2507.06448) maximises this divergence between an image and its masked copy while sampling; here it is
    read offline on a given reply, token by token over the full vocabulary. The divergence has no upper bound and a
    policy can win it by babbling under the corrupt view, hence the cap in nats a token: a token that is far enough
    apart has no gradient. The two branches must be one reply under two views.
    """

    kind: Literal["perception"] = "perception"
    branch: BranchField
    against: BranchField
    cap: float = Field(default=1.0, gt=0, description="nats per token")
    tokens: Tokens = "all"
    reduce: Literal["sum", "mean"] = "mean"

    @model_validator(mode="after")
    def _two_views(self) -> Perception:
        if self.branch.reply != self.against.reply or self.branch.view == self.against.view:
            raise ValueError("branch and against must be one reply under two views, as clean/chosen and corrupt/chosen")
        return self

    @property
    def needs(self) -> Needs:
        return Needs(branches=frozenset({self.branch, self.against}), cross=frozenset({(self.branch, self.against)}))

    @property
    def name(self) -> str:
        return f"perception({self.branch}|{self.against})"

    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        read = scores[self.branch]
        if self.against not in read.cross:
            raise ModelError(
                f"scores of {self.branch}",
                given=f"no divergence from {self.against}",
                expected="every pair of needs.cross to have one",
                todo="make the engine compute needs.cross",
            )
        gain = total(read.cross[self.against].clamp(max=self.cap), selected(read, self.tokens), reduce=self.reduce)
        return (-gain).where(read.present & scores[self.against].present, 0)
