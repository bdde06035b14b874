"""The weighted sum of terms that training minimises, read from a recipe.

Knows: weights of terms and of pairs. Does not know: what a term computes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from medpref.errors import RecipeError
from medpref.objectives.scores import Needs, Scores, Totals
from medpref.objectives.term import Term
from medpref.registry import TERMS


@dataclass(frozen=True)
class Loss:
    """A batch's loss before the mean over pairs.

    ``per_pair`` carries the gradient and is multiplied by term weights and pair weights; the trainer divides its sum by
    ``totals.pairs``. ``parts`` are the terms' own values by name, unweighted and without gradient, for logs.
    """

    per_pair: Float[Tensor, " pair"]
    parts: Mapping[str, Float[Tensor, " pair"]]


@dataclass(frozen=True)
class Objective:
    """``loss_i = w_i * sum_k weight_k * term_k(i)`` over ``terms`` = ((weight, term), ...).

    The mean divides by the number of pairs, not by the sum of ``w``: a pair without a branch, or with a small weight,
    still counts (FiRe-MPO and MMedPO as implemented).
    """

    terms: tuple[tuple[float, Term], ...]

    @property
    def needs(self) -> Needs:
        """The union of what the terms read."""
        return reduce(Needs.__or__, (term.needs for _, term in self.terms), Needs())

    @property
    def batchwise(self) -> bool:
        """Whether any term must see a whole batch at once."""
        return any(term.batchwise for _, term in self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts, in order; a second term of one name is called ``name#2``."""
        seen: Counter[str] = Counter()
        out = []
        for _, term in self.terms:
            seen[term.name] += 1
            out.append(term.name if seen[term.name] == 1 else f"{term.name}#{seen[term.name]}")
        return tuple(out)

    def __call__(self, scores: Scores, weights: Float[Tensor, " pair"], totals: Totals) -> Loss:
        self._refuse_weights(weights)
        values = [term(scores, totals) for _, term in self.terms]
        per_pair = sum((weight * value for (weight, _), value in zip(self.terms, values, strict=True)), weights * 0)
        parts = {name: value.detach() for name, value in zip(self.names, values, strict=True)}
        return Loss(per_pair * weights, parts)

    def as_data(self) -> list[dict[str, Any]]:
        """The list of mappings that ``parse_objective`` reads back into an equal objective."""
        return [{**term.model_dump(mode="json"), "weight": weight} for weight, term in self.terms]

    def _refuse_weights(self, weights: Float[Tensor, " pair"]) -> None:
        refusing = [term for _, term in self.terms if term.unweightable]
        if refusing and not bool(torch.all(weights == 1)):
            raise RecipeError(
                f"term {refusing[0].name}",
                given="pair weights other than 1",
                expected=f"unweighted pairs, because {refusing[0].unweightable}",
                todo="remove the weights or use another link",
            )


def parse_objective(config: Sequence[Mapping[str, Any]], where: str = "objective") -> Objective:
    """The objective a recipe's list describes; ``weight`` (1.0 unless written) belongs to the objective, not the term.

    A term of weight 0 is left out, so that an ablation by ``weight=0`` costs no forward pass. RecipeError on unknown
    keys, on a weight that is not a finite number >= 0, and where nothing is left.

    >>> parse_objective([{"kind": "margin", "better": "clean/chosen", "worse": "clean/rejected"}]).names
    ('margin(clean/chosen>clean/rejected)',)
    """
    terms = []
    for index, entry in enumerate(config):
        place = f"{where}[{index}]"
        fields = dict(entry)
        weight = _weight(fields.pop("weight", 1.0), place)
        term = TERMS.parse(fields, where=place)
        if weight > 0:
            terms.append((weight, term))
    if not terms:
        raise RecipeError(
            where, given="no term with a positive weight", expected="at least one", todo="add a term, such as a margin"
        )
    return Objective(tuple(terms))


def _weight(value: Any, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise RecipeError(
            where,
            given=f"weight = {value!r}",
            expected="a finite number >= 0",
            todo="to turn a preference round, exchange better and worse",
        )
    return float(value)
