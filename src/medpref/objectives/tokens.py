"""Which tokens of a branch a term reads, and guarded access to what the engine may not have computed.

``all`` = every reply token with the end token; ``spans`` = tokens that overlap an edited span; ``outside`` = the rest.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from medpref.errors import ModelError
from medpref.objectives.scores import BranchScores, Scores, TokenDivergence
from medpref.schema import Branch

Tokens = Literal["all", "spans", "outside"]


def selected(scores: BranchScores, tokens: Tokens) -> Bool[Tensor, "pair token"]:
    """True at the tokens a term reads; False at padding and in absent rows."""
    if tokens == "spans":
        return scores.mask & scores.spans
    if tokens == "outside":
        return scores.mask & ~scores.spans
    return scores.mask


def total(
    values: Float[Tensor, "pair token"],
    keep: Bool[Tensor, "pair token"],
    *,
    reduce: Literal["sum", "mean"] = "sum",
) -> Float[Tensor, " pair"]:
    """Sum, or mean, of the kept tokens of each pair; 0 where none is kept."""
    summed = values.where(keep, 0).sum(1)
    return summed if reduce == "sum" else summed / keep.sum(1).clamp(min=1)


def reference(scores: Scores, branch: Branch) -> Float[Tensor, "pair token"]:
    """The reference's token log-probabilities of a branch, cut from any graph."""
    values = scores[branch].reference
    if values is None:
        raise _absent(branch, what="reference log-probabilities", field="needs.reference")
    return values.detach()


def divergence(scores: Scores, branch: Branch) -> TokenDivergence:
    """The per-token divergences of a branch from the reference."""
    values = scores[branch].divergence
    if values is None:
        raise _absent(branch, what="token divergences", field="needs.divergence")
    return values


def collision(scores: Scores, branch: Branch) -> Float[Tensor, "pair token"]:
    """``log sum_v p_v^2`` at each token of a branch, cut from any graph."""
    values = scores[branch].collision
    if values is None:
        raise _absent(branch, what="collision log-probabilities", field="needs.collision")
    return values.detach()


def _absent(branch: Branch, *, what: str, field: str) -> ModelError:
    return ModelError(
        f"scores of {branch}",
        given=f"no {what}",
        expected=f"every branch of {field} to have them",
        todo=f"list {branch} in the term's {field}, or make the engine compute it",
    )
