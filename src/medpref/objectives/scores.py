"""What the engine hands to an objective: per-token log-probabilities of each branch, and what an objective asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from medpref.schema import Branch


@dataclass(frozen=True)
class Needs:
    """What a term reads; the engine computes exactly this.

    ``branches`` need log-probabilities of the policy; ``reference`` those of the reference too; ``divergence`` the
    per-token KL of both directions against the reference; ``cross`` KL(policy on first || policy on second), per token
    of one text read against two views; ``collision`` the per-token log sum_v p_v^2 (WPO).
    """

    branches: frozenset[Branch] = frozenset()
    reference: frozenset[Branch] = frozenset()
    divergence: frozenset[Branch] = frozenset()
    cross: frozenset[tuple[Branch, Branch]] = frozenset()
    collision: frozenset[Branch] = frozenset()

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.branches | other.branches,
            self.reference | other.reference,
            self.divergence | other.divergence,
            self.cross | other.cross,
            self.collision | other.collision,
        )


@dataclass(frozen=True)
class TokenDivergence:
    """Exact full-vocabulary divergences at each reply position, nats; 0 where the mask is False.

    ``forward`` = KL(reference || policy), ``reverse`` = KL(policy || reference). Gradient through the policy only.
    """

    forward: Float[Tensor, "pair token"]
    reverse: Float[Tensor, "pair token"]


@dataclass(frozen=True)
class BranchScores:
    """One branch of a batch of pairs, padded to the longest reply.

    ``policy``, ``reference``: log p of each reply token (end token included), nats, 0 where ``mask`` is False; the
    reference carries no gradient and is None where nothing needs it. ``spans``: the token overlaps an edited span.
    ``present``: the pair has this branch; an absent row is all False and 0.
    """

    policy: Float[Tensor, "pair token"]
    reference: Float[Tensor, "pair token"] | None
    mask: Bool[Tensor, "pair token"]
    spans: Bool[Tensor, "pair token"]
    present: Bool[Tensor, " pair"]
    divergence: TokenDivergence | None = None
    cross: Mapping[Branch, Float[Tensor, "pair token"]] = field(default_factory=dict)
    collision: Float[Tensor, "pair token"] | None = None


Scores = Mapping[Branch, BranchScores]


@dataclass(frozen=True)
class Totals:
    """Counts over the *global* batch, so that a loss does not depend on how the batch was split into micro-steps."""

    pairs: int
    tokens: Mapping[Branch, int] = field(default_factory=dict)
