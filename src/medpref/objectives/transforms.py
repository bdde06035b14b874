"""f-divergence transforms: the function of ``D`` that replaces it where DPO's reverse KL becomes another divergence.

With ``t = exp(D)`` the score is ``f'(t)`` up to a constant that cancels in a difference (f-DPO, arXiv:2309.16240). It
acts on the *sequence* log-ratio; it is not a token-wise penalty (that is ``token_kl``).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

FDivergence = Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"]

LARGEST_EXPONENT = 80.0  # exp(88.8) overflows float32; TRL clamps at 80 too, in the alpha divergence only
NEAR_ONE = 1e-6  # alpha this near to 1 is the limit, reverse KL


def transformed(ratio: Float[Tensor, " pair"], kind: FDivergence, *, alpha: float) -> Float[Tensor, " pair"]:
    """The score of a log-ratio ``D`` (nats).

    - ``reverse_kl``: ``D``
    - ``forward_kl``: ``1 - exp(-D)``, the exponent at most 80 (no gradient beyond)
    - ``js_divergence``: ``log 2 + log s(D)``
    - ``alpha_divergence``: ``(exp((a-1) D) - 1) / (a-1)``, the exponent at most 80; ``D`` at a = 1
    """
    if kind == "forward_kl":
        return 1 - torch.exp((-ratio).clamp(max=LARGEST_EXPONENT))
    if kind == "js_divergence":
        return math.log(2) + F.logsigmoid(ratio)
    if kind == "alpha_divergence" and abs(alpha - 1) >= NEAR_ONE:
        return (torch.exp(((alpha - 1) * ratio).clamp(max=LARGEST_EXPONENT)) - 1) / (alpha - 1)
    return ratio
