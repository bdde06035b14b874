"""Two margins that should be equal: how much one reply is preferred under one view, and the other under the other."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from medpref.objectives.scores import Needs, Scores, Totals
from medpref.objectives.term import BranchField, Term
from medpref.objectives.tokens import Tokens, reference, selected, total
from medpref.registry import TERMS
from medpref.schema import Branch


@TERMS.add
class Consistency(Term):
    """``((D_better - D_worse) - (D_other_better - D_other_worse))^2``, SymMPO's margin consistency (arXiv:2506.11712).

    SymMPO prefers y over y' under image v and y' over y under v', each with a margin term, and adds this with weight
    1e-4 (its code); there is no beta. A pair that lacks one of the branches, or has no selected token in any, has 0.
    """

    kind: Literal["consistency"] = "consistency"
    better: BranchField
    worse: BranchField
    other_better: BranchField
    other_worse: BranchField
    tokens: Tokens = "all"

    @model_validator(mode="after")
    def _distinct(self) -> Consistency:
        if self.better == self.worse or self.other_better == self.other_worse:
            raise ValueError("better and worse are the same branch, so their margin is always 0")
        if (self.better, self.worse) == (self.other_better, self.other_worse):
            raise ValueError("both margins are the same, so the term is always 0")
        return self

    @property
    def needs(self) -> Needs:
        branches = frozenset({self.better, self.worse, self.other_better, self.other_worse})
        return Needs(branches=branches, reference=branches)

    @property
    def name(self) -> str:
        return f"consistency({self.better}>{self.worse}={self.other_better}>{self.other_worse})"

    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        one = self._ratio(scores, self.better) - self._ratio(scores, self.worse)
        other = self._ratio(scores, self.other_better) - self._ratio(scores, self.other_worse)
        present = scores[self.better].present & scores[self.worse].present
        present = present & scores[self.other_better].present & scores[self.other_worse].present
        return ((one - other) ** 2).where(present, 0)

    def _ratio(self, scores: Scores, branch: Branch) -> Float[Tensor, " pair"]:
        return total(scores[branch].policy - reference(scores, branch), selected(scores[branch], self.tokens))
