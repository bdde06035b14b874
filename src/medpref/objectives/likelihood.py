"""The negative log-likelihood of a branch: supervised fine-tuning, or the stabiliser beside a margin."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from medpref.errors import ModelError
from medpref.objectives.scores import Needs, Scores, Totals
from medpref.objectives.term import BranchField, Term
from medpref.objectives.tokens import Tokens, selected, total
from medpref.registry import TERMS


@TERMS.add
class Likelihood(Term):
    """``-sum_t log p_t`` of a branch, averaged as ``mean_over`` says.

    - ``tokens``: all tokens of the global batch, ``-L_i / N`` (SFT; TRL's ``sft`` loss). Long replies weigh more. The
      loss does not depend on micro-steps, because N comes from ``totals``;
    - ``pair``: the pair's own tokens, ``-L_i / n_i``, then pairs (IRPO, arXiv:2404.19733; "DPO+NLL");
    - ``batch``: pairs only, ``-L_i`` summed over its tokens (as CPO prints it, arXiv:2401.08417).

    Pair weights multiply ``L_i`` and never the divisor.
    """

    kind: Literal["likelihood"] = "likelihood"
    branch: BranchField
    mean_over: Literal["tokens", "pair", "batch"] = "tokens"
    tokens: Tokens = "all"

    @model_validator(mode="after")
    def _counted(self) -> Likelihood:
        if self.mean_over == "tokens" and self.tokens != "all":
            raise ValueError("mean_over: tokens counts whole replies; with tokens: spans or outside use pair or batch")
        return self

    @property
    def needs(self) -> Needs:
        return Needs(branches=frozenset({self.branch}))

    @property
    def name(self) -> str:
        return f"likelihood({self.branch})"

    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        branch = scores[self.branch]
        keep = selected(branch, self.tokens)
        if self.mean_over == "pair":
            return -total(branch.policy, keep, reduce="mean")
        loss = -total(branch.policy, keep)
        return loss * self._pairs_per_token(totals) if self.mean_over == "tokens" else loss

    def _pairs_per_token(self, totals: Totals) -> float:
        # The trainer divides the sum over pairs by totals.pairs; this turns that into a division by N.
        if self.branch not in totals.tokens:
            raise ModelError(
                f"term {self.name}",
                given="no token count of the global batch",
                expected=f"totals.tokens[{self.branch}]",
                todo="count the reply tokens of the whole batch, end tokens included",
            )
        return totals.pairs / max(totals.tokens[self.branch], 1)
