"""Weights of one source of pairs brought to a common scale."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from medpref.registry import REWEIGHERS
from medpref.schema import Frozen

log = logging.getLogger(__name__)
AT_BOUND = 0.9


@REWEIGHERS.add
class Moments(Frozen):
    """clip(1 + sqrt(variance) z, low, high), z the standardised weight of its source.

    MMedPO's appendix gives mean 1, variance 0.1 and the clip [0.75, 1.25] (arXiv:2412.06141); read as the moments the
    weights are to have, which is the only reading that does not make them all equal. Equal weights become 1.
    """

    kind: Literal["moments"] = "moments"
    variance: float = Field(default=0.1, gt=0)
    low: float = Field(default=0.75, ge=0)
    high: float = Field(default=1.25, gt=0)

    def reweigh(self, weights: Sequence[float]) -> list[float]:
        """The new weights, in order."""
        values = np.asarray(weights, dtype=np.float64)
        spread = float(values.std()) if values.size else 0.0
        if spread < 1e-12:
            return [1.0] * values.size
        moved = 1 + np.sqrt(self.variance) * (values - values.mean()) / spread
        return [float(value) for value in np.clip(moved, self.low, self.high)]


@REWEIGHERS.add
class Literally(Frozen):
    """clip((s - 1) / sqrt(variance), low, high): MMedPO's formula as printed; warns where it flattens the weights."""

    kind: Literal["literal"] = "literal"
    variance: float = Field(default=0.1, gt=0)
    low: float = Field(default=0.75, ge=0)
    high: float = Field(default=1.25, gt=0)

    def reweigh(self, weights: Sequence[float]) -> list[float]:
        """The new weights, in order."""
        values = (np.asarray(weights, dtype=np.float64) - 1) / np.sqrt(self.variance)
        moved = np.clip(values, self.low, self.high)
        flat = max(float(np.mean(moved == bound)) for bound in (self.low, self.high)) if moved.size else 0.0
        if flat > AT_BOUND:
            log.warning("reweigh literal: %.0f %% of the weights sit on one bound; moments is meant", 100 * flat)
        return [float(value) for value in moved]
