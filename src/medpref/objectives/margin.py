"""The margin term: one branch is preferred over another, and a link says what that costs."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from medpref.objectives.links import LINKS, LinkName, Side
from medpref.objectives.scores import Needs, Scores, Totals
from medpref.objectives.term import BranchField, Comparison, Term
from medpref.objectives.tokens import Tokens, reference, selected
from medpref.objectives.transforms import FDivergence, transformed
from medpref.objectives.weighting import length_desensitised, on_policy_weight, span_weighted
from medpref.registry import TERMS
from medpref.schema import Branch


@TERMS.add
class Margin(Term):
    """``link(better, worse)`` with ``D_b = sum_t m_t (log policy_t - log reference_t)`` over the selected tokens of b.

    Default: DPO, ``-log s(beta (D_better - D_worse))``. ``better`` and ``worse`` are any two branches: two replies
    under one view (DPO), one reply under two views (CoPO, mDPO), or both at once (MMedPO's benchmark version).

    A pair that lacks either branch has loss 0. So has a pair in which neither branch has a selected token: the term
    says nothing about it (FiRe-MPO's code adds the constant ln 2 there, which moves the logged loss and no weight).
    Where only one side has selected tokens (words inserted or deleted), the other side counts as 0, as FiRe-MPO does.

    Options that the link does not read are refused. ``normalise: length`` divides L and R by the token count first;
    ``span_weight`` multiplies tokens of spans (RLHF-V's dense DPO); ``ld_alpha`` multiplies tokens past the shorter
    reply (LD-DPO); ``weighting: wpo`` multiplies the loss by both replies' on-policy weights.

    >>> Margin(better="clean/chosen", worse="corrupt/chosen", link="simpo", beta=2.0).name
    'margin.simpo(clean/chosen>corrupt/chosen)'
    """

    kind: Literal["margin"] = "margin"
    better: BranchField
    worse: BranchField
    link: LinkName = "sigmoid"
    beta: float = Field(default=0.1, gt=0)
    tokens: Tokens = "all"
    normalise: Literal["none", "length"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    gamma: float | None = Field(default=None, description="simpo: target margin, nats times beta")
    tau: float | None = Field(default=None, gt=0, description="discopop: temperature of the mixture")
    span_weight: float = Field(default=1.0, gt=0)
    ld_alpha: float | None = Field(default=None, ge=0, le=1)
    f_divergence: FDivergence = "reverse_kl"
    f_alpha: float = Field(default=0.5, description="coefficient of the alpha divergence")
    weighting: Literal["none", "wpo"] = "none"

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        link = LINKS.get(data.get("link", "sigmoid")) if isinstance(data, dict) else None
        return data if link is None else {**link.defaults, **{k: v for k, v in data.items() if v is not None}}

    @field_validator("link", mode="before")
    @classmethod
    def _paired(cls, link: Any) -> Any:
        if link == "kto":
            raise ValueError("a link of two branches; KTO is unpaired, so write kind: kto with better and worse")
        return link

    @model_validator(mode="after")
    def _coherent(self) -> Margin:
        for broken, message in _conflicts(self):
            if broken:
                raise ValueError(message)
        return self

    @property
    def needs(self) -> Needs:
        both = frozenset({self.better, self.worse})
        none: frozenset[Branch] = frozenset()
        return Needs(
            branches=both,
            reference=none if LINKS[self.link].reference_free else both,
            collision=both if self.weighting == "wpo" else none,
        )

    @property
    def name(self) -> str:
        link = "" if self.link == "sigmoid" else f".{self.link}"
        return f"margin{link}({self.better}>{self.worse})"

    @property
    def batchwise(self) -> bool:
        return LINKS[self.link].batchwise

    @property
    def unweightable(self) -> str:
        return f"{self.link} sorts the batch, and a sorted loss belongs to no pair" if self.batchwise else ""

    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        (better, kept_c), (worse, kept_r) = self._side(scores, self.better), self._side(scores, self.worse)
        present = scores[self.better].present & scores[self.worse].present & (kept_c | kept_r)
        # Absent rows are left out rather than masked afterwards: a link may be infinite there, and inf * 0 is NaN.
        rows = present.nonzero().squeeze(1)
        c, r = (Side(*(values[rows] for values in side)) for side in (better, worse))
        options = {name: getattr(self, name) for name in LINKS[self.link].options}
        losses = LINKS[self.link].loss(c, r, **options)
        if self.weighting == "wpo":
            losses = losses * (on_policy_weight(scores, self.better) * on_policy_weight(scores, self.worse))[rows]
        return torch.zeros_like(better.policy).index_put((rows,), losses)

    def compare(self, scores: Scores) -> Comparison:
        """``beta D`` of each side, as TRL logs it; without a reference ``beta L``, or ``beta L / n`` (simpo, orpo)."""
        rewards = []
        for branch in (self.better, self.worse):
            side, _ = self._side(scores, branch)
            link = LINKS[self.link]
            reward = side.mean_policy if link.reference_free and link.averaged else side.ratio
            rewards.append((self.beta * reward).detach())
        return Comparison(self.better, self.worse, *rewards)

    def _side(self, scores: Scores, branch: Branch) -> tuple[Side, Bool[Tensor, " pair"]]:
        """A side, and whether the pair has selected tokens there."""
        read = scores[branch]
        keep = selected(read, self.tokens)
        weights = span_weighted(read, keep, span_weight=self.span_weight)
        tokens = torch.where(keep.any(1), weights.sum(1), 1.0)
        if self.ld_alpha is not None:
            other = self.worse if branch == self.better else self.better
            weights = weights * length_desensitised(read.mask, scores[other].mask, alpha=self.ld_alpha)
        policy = (read.policy.where(keep, 0) * weights).sum(1)
        free = LINKS[self.link].reference_free
        base = torch.zeros_like(policy) if free else (reference(scores, branch).where(keep, 0) * weights).sum(1)
        if self.normalise == "length":
            policy, base = policy / tokens, base / tokens
        score = transformed(policy - base, self.f_divergence, alpha=self.f_alpha)
        return Side(policy, base, score, tokens), keep.any(1)


def _conflicts(term: Margin) -> list[tuple[bool, str]]:
    """Combinations that have no meaning, each with its reason."""
    link, name = LINKS[term.link], term.link
    return [
        (term.better == term.worse, "better and worse are the same branch, so the margin is always 0"),
        (term.label_smoothing > 0 and "label_smoothing" not in link.options, f"{name} has no label_smoothing"),
        (name == "exo_pair" and term.label_smoothing == 0, "exo_pair needs label_smoothing > 0; its paper uses 1e-3"),
        (term.gamma is not None and "gamma" not in link.options, f"{name} has no gamma; simpo has"),
        (term.tau is not None and "tau" not in link.options, f"{name} has no tau; discopop has"),
        (
            link.averaged and term.normalise == "length",
            f"{name} averages over tokens by definition; remove normalise",
        ),
        (
            term.f_divergence != "reverse_kl" and not link.scored,
            f"{name} reads more than a difference of rewards, where the normaliser of {term.f_divergence} stays",
        ),
        (
            term.f_divergence != "alpha_divergence" and term.f_alpha != 0.5,
            "f_alpha is read by f_divergence: alpha_divergence only",
        ),
        (
            term.span_weight != 1 and term.tokens != "all",
            "span_weight weighs spans against the rest; it needs tokens: all",
        ),
        (
            term.ld_alpha is not None and term.tokens != "all",
            "ld_alpha counts places in whole replies; it needs tokens: all",
        ),
        (
            term.weighting == "wpo" and link.batchwise,
            f"{name} sorts the batch, so a pair's weight would meet another pair's loss",
        ),
    ]
