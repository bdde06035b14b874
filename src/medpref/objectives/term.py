"""What every summand of a loss is: a frozen value that reads some branches and gives one number per pair.

Knows: the form of a term, and how a branch is written in a recipe. Does not know: weights of terms or of pairs
(``objective.py``), or how scores are made (the engine).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, NamedTuple

from jaxtyping import Float
from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from torch import Tensor

from medpref.objectives.scores import Needs, Scores, Totals
from medpref.schema import Branch, Frozen


def _branch(value: Any) -> Any:
    return Branch.parse(value) if isinstance(value, str) else value


BranchField = Annotated[
    Branch,
    BeforeValidator(_branch),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[^/]+/[^/]+$", "examples": ["clean/chosen"]}),
]
"""A branch that a recipe writes as ``view/reply``."""


class Comparison(NamedTuple):
    """The implicit rewards of the two branches a term compares, nats times beta, without gradient.

    Rows where the pair lacks a branch hold whatever the padding gives; read ``present`` of the branches.
    """

    better: Branch
    worse: Branch
    reward_better: Float[Tensor, " pair"]
    reward_worse: Float[Tensor, " pair"]


class Term(Frozen, ABC):
    """One summand of an objective.

    A concrete term adds ``kind: Literal["x"] = "x"``, its options as fields, and registers with ``@TERMS.add``;
    ``medpref.testing.terms.check_term`` tells whether it keeps the promises below.
    """

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What the engine must compute: exactly what ``__call__`` reads, and nothing that cannot change the loss."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short stable name for logs, such as ``margin(clean/chosen>clean/rejected)``."""

    @abstractmethod
    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        """The loss of each pair, not yet weighted; 0 with zero gradient where the pair lacks a branch of ``needs``.

        The trainer sums over pairs and divides by ``totals.pairs``.
        """

    @property
    def batchwise(self) -> bool:
        """Whether a pair's loss depends on the other pairs, so that splitting a batch into micro-steps changes it."""
        return False

    @property
    def optional(self) -> frozenset[Branch]:
        """Branches a pair may lack without losing the whole term (unpaired losses)."""
        return frozenset()

    @property
    def unweightable(self) -> str:
        """Why pair weights other than 1 have no meaning for this term; empty if they have one."""
        return ""

    def compare(self, scores: Scores) -> Comparison | None:
        """The rewards that this term pulls apart, for logs; None if it compares nothing."""
        return None
