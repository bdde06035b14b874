"""The exact token-wise divergence of a branch from the reference, as a penalty."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from medpref.objectives.scores import Needs, Scores, Totals
from medpref.objectives.term import BranchField, Term
from medpref.objectives.tokens import Tokens, divergence, selected, total
from medpref.registry import TERMS


@TERMS.add
class TokenKL(Term):
    """``sum_t forward * KL(reference || policy)_t + reverse * KL(policy || reference)_t`` over the selected tokens.

    Full vocabulary, computed by the engine; here it is weighed, masked and summed (``reduce: mean`` divides by the
    number of selected tokens). It is *added* to the loss, so that a positive weight keeps the policy near the
    reference. FiRe-MPO (arXiv:2606.12590) and RRPO print the term with a leading minus inside a loss that is minimised,
    which would drive the policy away; FiRe-MPO's code adds it, as here.

    RRPO uses forward only; FiRe-MPO 0.5 and 0.5 over the span tokens of (clean, chosen).
    """

    kind: Literal["token_kl"] = "token_kl"
    branch: BranchField
    forward: float = Field(default=0.0, ge=0, description="coefficient of KL(reference || policy)")
    reverse: float = Field(default=0.0, ge=0, description="coefficient of KL(policy || reference)")
    tokens: Tokens = "all"
    reduce: Literal["sum", "mean"] = "sum"

    @model_validator(mode="after")
    def _something(self) -> TokenKL:
        if self.forward == 0 and self.reverse == 0:
            raise ValueError("forward and reverse are both 0; write at least one of them, such as forward: 1.0")
        return self

    @property
    def needs(self) -> Needs:
        branch = frozenset({self.branch})
        return Needs(branches=branch, divergence=branch)

    @property
    def name(self) -> str:
        return f"token_kl({self.branch})"

    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        kl = divergence(scores, self.branch)
        mixed = self.forward * kl.forward + self.reverse * kl.reverse
        return total(mixed, selected(scores[self.branch], self.tokens), reduce=self.reduce)
