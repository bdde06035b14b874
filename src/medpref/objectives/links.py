"""How a comparison of two branches becomes a loss: each link is a pure function, its keyword arguments its options.

Notation, per pair: side ``c`` (better) and ``r`` (worse) have ``L`` = policy log-probability, ``R`` = reference
log-probability, ``D = L - R``, ``S`` = D after the f-divergence transform (D itself by default), ``n`` = token count;
``z = S_c - S_r``; ``s`` = logistic function; ``b`` = beta; ``e`` = label smoothing. Reference-free links get ``R = 0``.

The same name means different mathematics in different libraries and versions; the formulas here are the meaning here.
Where TRL 1.16 differs, the docstring says so.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Rows = Float[Tensor, " pair"]


class Side(NamedTuple):
    """One side of a comparison, one number per pair, nats. ``tokens`` is at least 1."""

    policy: Rows
    reference: Rows
    score: Rows
    tokens: Rows

    @property
    def ratio(self) -> Rows:
        """``D = L - R``."""
        return self.policy - self.reference

    @property
    def mean_score(self) -> Rows:
        """``S / n``."""
        return self.score / self.tokens

    @property
    def mean_policy(self) -> Rows:
        """``L / n``."""
        return self.policy / self.tokens


def sigmoid(c: Side, r: Side, *, beta: float, label_smoothing: float) -> Rows:
    """``-(1-e) log s(b z) - e log s(-b z)``: DPO (arXiv:2305.18290, eq. 7), conservative DPO where e > 0.

    TRL ignores e here since 0.29.
    """
    return smoothed(beta * (c.score - r.score), label_smoothing)


def hinge(c: Side, r: Side, *, beta: float) -> Rows:
    """``max(0, 1 - b z)``: SLiC (arXiv:2305.10425) as generalised by RSO (arXiv:2309.06657)."""
    return torch.relu(1 - beta * (c.score - r.score))


def ipo(c: Side, r: Side, *, beta: float) -> Rows:
    """``(S_c / n_c - S_r / n_r - 1 / (2 b))^2``: IPO (arXiv:2310.12036, eq. 17), averaged over tokens."""
    return (c.mean_score - r.mean_score - 1 / (2 * beta)) ** 2


def robust(c: Side, r: Side, *, beta: float, label_smoothing: float) -> Rows:
    """``[-(1-e) log s(b z) + e log s(-b z)] / (1 - 2e)``, 0 <= e < 0.5: unbiased if a share e of labels is flipped.

    Robust DPO (arXiv:2403.00409). Can be negative.
    """
    logit = beta * (c.score - r.score)
    kept, flipped = -F.logsigmoid(logit), -F.logsigmoid(-logit)
    return ((1 - label_smoothing) * kept - label_smoothing * flipped) / (1 - 2 * label_smoothing)


def exo_pair(c: Side, r: Side, *, beta: float, label_smoothing: float) -> Rows:
    """``q log(q / (1-e)) + (1-q) log((1-q) / e)`` with ``q = s(b z)``, e > 0: EXO-pref (arXiv:2402.00856, eq. 16)."""
    logit = beta * (c.score - r.score)
    won = torch.sigmoid(logit) * (F.logsigmoid(logit) - math.log1p(-label_smoothing))
    lost = torch.sigmoid(-logit) * (F.logsigmoid(-logit) - math.log(label_smoothing))
    return won + lost


def nca_pair(c: Side, r: Side, *, beta: float) -> Rows:
    """``-log s(b D_c) - 0.5 log s(-b D_c) - 0.5 log s(-b D_r)``: NCA for pairs (arXiv:2402.05369)."""
    up, down = beta * c.ratio, beta * r.ratio
    return -F.logsigmoid(up) - 0.5 * F.logsigmoid(-up) - 0.5 * F.logsigmoid(-down)


def bco_pair(c: Side, r: Side, *, beta: float) -> Rows:
    """``-log s(b D_c) - log s(-b D_r)``: BCO (arXiv:2404.04656) without its running-mean shift.

    TRL has no shift since 0.29; earlier TRL, LLaMA-Factory and ms-swift subtract a running mean of rewards.
    """
    return -F.logsigmoid(beta * c.ratio) - F.logsigmoid(-beta * r.ratio)


def sppo_hard(c: Side, r: Side, *, beta: float) -> Rows:
    """``(D_c - 1/(2b))^2 + (D_r + 1/(2b))^2``: SPPO (arXiv:2405.00675, eq. 4.7) with hard wins."""
    return (c.ratio - 0.5 / beta) ** 2 + (r.ratio + 0.5 / beta) ** 2


def apo_zero(c: Side, r: Side, *, beta: float) -> Rows:
    """``1 - s(b D_c) + s(b D_r)``: APO-zero (arXiv:2408.06266, eq. 7); the chosen reply is better than the policy's."""
    return torch.sigmoid(-beta * c.ratio) + torch.sigmoid(beta * r.ratio)


def apo_down(c: Side, r: Side, *, beta: float) -> Rows:
    """``s(b D_c) + 1 - s(b (D_c - D_r))``: APO-down (arXiv:2408.06266, eq. 8); the policy is better than both."""
    return torch.sigmoid(beta * c.ratio) + torch.sigmoid(-beta * (c.ratio - r.ratio))


def discopop(c: Side, r: Side, *, beta: float, tau: float) -> Rows:
    """``(1-m) (-log s(b z)) + m exp(-b z)`` with ``m = s(b z / tau)``: DiscoPOP (arXiv:2406.08414, eq. 5).

    Computed as ``exp(log m - b z)``, which stays finite where exp(-b z) overflows and TRL's product is NaN.
    """
    logit = beta * (c.score - r.score)
    logistic = torch.sigmoid(-logit / tau) * -F.logsigmoid(logit)
    return logistic + torch.exp(F.logsigmoid(logit / tau) - logit)


def sigmoid_norm(c: Side, r: Side, *, beta: float) -> Rows:
    """``-log s(b (S_c / n_c - S_r / n_r))``: length-normalised DPO (Tulu 3, arXiv:2411.15124)."""
    return -F.logsigmoid(beta * (c.mean_score - r.mean_score))


def simpo(c: Side, r: Side, *, beta: float, gamma: float, label_smoothing: float) -> Rows:
    """``-log s(b (L_c / n_c - L_r / n_r) - g)`` without a reference: SimPO (arXiv:2405.14734, eq. 6); e smooths it.

    ``g`` is the target margin itself (the paper sets b 2.0 to 2.5 and g / b 0.3 to 0.6).
    """
    return smoothed(beta * (c.mean_policy - r.mean_policy) - gamma, label_smoothing)


def orpo(c: Side, r: Side, *, beta: float) -> Rows:
    """``-b log s(log odds_c - log odds_r)`` with ``log odds = a - log(1 - exp a)``, ``a = L / n``, without a reference.

    ORPO's odds-ratio loss (arXiv:2403.07691, eq. 7) times its lambda, which is ``beta`` here as in TRL; add the
    likelihood term of weight 1. A mean token probability above 1 - 1e-6 is taken as that, since its odds are infinite.
    """
    return -beta * F.logsigmoid(_log_odds(c.mean_policy) - _log_odds(r.mean_policy))


def cpo(c: Side, r: Side, *, beta: float, label_smoothing: float) -> Rows:
    """``-log s(b (L_c - L_r))`` without a reference: CPO (arXiv:2401.08417, eq. 3); add a likelihood. e smooths it."""
    return smoothed(beta * (c.policy - r.policy), label_smoothing)


def aot(c: Side, r: Side, *, beta: float, label_smoothing: float) -> Rows:
    """``smoothed(b x)`` with ``x = sort(L_c - L_r) - sort(R_c - R_r)`` over the batch: AOT, paired (arXiv:2406.05882).

    The k-th loss is booked to the pair whose policy margin is the k-th smallest; only the mean has a meaning.
    """
    margin, order = torch.sort(c.policy - r.policy)
    x = margin - torch.sort(c.reference - r.reference).values
    return _booked(smoothed(beta * x, label_smoothing), order)


def aot_unpaired(c: Side, r: Side, *, beta: float, label_smoothing: float) -> Rows:
    """``smoothed(b x)`` with ``x = sort(D_c) - sort(D_r)`` over the batch: AOT, unpaired (arXiv:2406.05882).

    The k-th loss is booked to the pair whose better side has the k-th smallest ratio; only the mean has a meaning.
    """
    better, order = torch.sort(c.ratio)
    return _booked(smoothed(beta * (better - torch.sort(r.ratio).values), label_smoothing), order)


def smoothed(logit: Rows, label_smoothing: float) -> Rows:
    """``-(1-e) log s(logit) - e log s(-logit)``."""
    return -(1 - label_smoothing) * F.logsigmoid(logit) - label_smoothing * F.logsigmoid(-logit)


def _log_odds(log_prob: Rows) -> Rows:
    safe = log_prob.clamp(max=-1e-6)
    return safe - torch.log(-torch.expm1(safe))


def _booked(losses: Rows, order: Int[Tensor, " pair"]) -> Rows:
    return torch.zeros_like(losses).index_put((order,), losses)


@dataclass(frozen=True)
class Link:
    """What a margin must know about a link beside its formula.

    ``defaults`` are options it has beside beta with a value of their own; ``averaged``: the formula divides by lengths;
    ``scored``: it reads only the difference of scores, so an f-divergence has a meaning (elsewhere the term
    ``beta log Z`` does not cancel); ``batchwise``: it sorts the batch.
    """

    loss: Callable[..., Rows]
    defaults: Mapping[str, float] = field(default_factory=dict)
    averaged: bool = False
    reference_free: bool = False
    scored: bool = False
    batchwise: bool = False

    @property
    def options(self) -> frozenset[str]:
        """Names of the options that the formula reads."""
        return frozenset(inspect.signature(self.loss).parameters) - {"c", "r"}


LINKS: Mapping[str, Link] = {
    "sigmoid": Link(sigmoid, scored=True),
    "hinge": Link(hinge, scored=True),
    "ipo": Link(ipo, scored=True, averaged=True),
    "robust": Link(robust, scored=True),
    "exo_pair": Link(exo_pair, scored=True),
    "nca_pair": Link(nca_pair),
    "bco_pair": Link(bco_pair),
    "sppo_hard": Link(sppo_hard),
    "aot": Link(aot, batchwise=True),
    "aot_unpaired": Link(aot_unpaired, batchwise=True),
    "apo_zero": Link(apo_zero),
    "apo_down": Link(apo_down),
    "discopop": Link(discopop, {"tau": 0.05}, scored=True),
    "sigmoid_norm": Link(sigmoid_norm, scored=True, averaged=True),
    "simpo": Link(simpo, {"gamma": 0.5}, reference_free=True, averaged=True),
    "orpo": Link(orpo, reference_free=True, averaged=True),
    "cpo": Link(cpo, reference_free=True),
}

LinkName = Literal[
    "sigmoid", "hinge", "ipo", "robust", "exo_pair", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sigmoid_norm", "simpo", "orpo", "cpo",
]  # fmt: skip
