"""Noise inside a region: additive Gaussian, forward diffusion, and one released defect under its own name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medpref.imaging.corrupt import Parameters, draw_seed, mask_json, mask_of, paste, standard_normal, stored_mask
from medpref.imaging.decode import Pixels
from medpref.imaging.legacy import warn_legacy
from medpref.registry import CORRUPTIONS
from medpref.schema import Frozen, Region

DIFFUSION_STEPS = 1000
Schedule = Literal["sigmoid", "linear"]


@CORRUPTIONS.add
class GaussianNoise(Frozen):
    """``clip(x + N(0, sigma^2))`` inside the mask, independently per channel (FiRe-MPO, arXiv 2606.12590: 45).

    ``sigma`` is in grey levels of the 0-255 scale.
    """

    kind: Literal["gaussian_noise"] = "gaussian_noise"
    sigma: float = Field(default=45.0, gt=0)

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = mask_of(regions, image, kind=self.kind)
        return {"kind": self.kind, "sigma": self.sigma, "seed": draw_seed(rng), "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        noise = standard_normal(parameters["seed"], image) * parameters["sigma"]
        return paste(image, image + noise, stored_mask(parameters, image))


def alpha_bar(schedule: Schedule, t: int) -> float:
    """The share of the signal's variance left after step ``t`` (0-based) of 1000: ``prod_{i<=t} (1 - beta_i)``.

    ``sigmoid``: ``beta_i = sigmoid(linspace(-6, 6)_i) (5e-3 - 1e-5) + 1e-5`` (POVID, and so MMedPO's training folder).
    ``linear``: ``beta_i = linspace(1e-4, 2e-2)_i`` (DDPM, arXiv 2006.11239, section 4).
    """
    if schedule == "sigmoid":
        beta = (5e-3 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, DIFFUSION_STEPS))) + 1e-5
    else:
        beta = np.linspace(1e-4, 2e-2, DIFFUSION_STEPS)
    return float(np.cumprod(1 - beta)[t])


@CORRUPTIONS.add
class Diffuse(Frozen):
    """``sqrt(a) x + sqrt(1 - a) eps`` inside the mask, ``a = alpha_bar(schedule, t)`` (MMedPO, arXiv 2412.06141, 3.2).

    The paper gives neither a schedule nor a step nor a scale: pixels are scaled to [-1, 1] (as in DDPM), so noise has
    a standard deviation of ``127.5 sqrt(1 - a)`` grey levels. Under ``sigmoid``, t = 500 keeps a = 0.745.
    """

    kind: Literal["diffuse"] = "diffuse"
    t: int = Field(default=500, ge=0, lt=DIFFUSION_STEPS)
    schedule: Schedule = "sigmoid"

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = mask_of(regions, image, kind=self.kind)
        values = {"t": self.t, "schedule": self.schedule, "alpha_bar": alpha_bar(self.schedule, self.t)}
        return {"kind": self.kind, **values, "seed": draw_seed(rng), "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        kept = parameters["alpha_bar"]
        noise = standard_normal(parameters["seed"], image)
        mixed = np.sqrt(kept) * (image / 127.5 - 1) + np.sqrt(1 - kept) * noise
        return paste(image, (mixed + 1) * 127.5, stored_mask(parameters, image))


def wrapped(values: NDArray[np.float64]) -> Pixels:
    """Floats cut towards zero and taken modulo 256: what a write into a uint8 array does before any clipping."""
    return (np.trunc(values).astype(np.int64) & 0xFF).astype(np.uint8)


@CORRUPTIONS.add
class WraparoundNoise(Frozen):
    """Legacy, as released by MMedPO: N(0, sigma^2) *replaces* the mask and wraps around at 0, so -3 becomes 253.

    The result is black and white speckle (mean 118, standard deviation 120 for sigma 10), not the near-black patch
    that was presumably meant. For numbers of that release only; use ``gaussian_noise`` or ``diffuse``.
    """

    kind: Literal["wraparound_noise"] = "wraparound_noise"
    sigma: float = Field(default=10.0, gt=0)

    def model_post_init(self, _: Any) -> None:
        warn_legacy("wraparound_noise", does="wraps below 0 to white", instead="gaussian_noise or diffuse")

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = mask_of(regions, image, kind=self.kind)
        return {"kind": self.kind, "sigma": self.sigma, "seed": draw_seed(rng), "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        noise = standard_normal(parameters["seed"], image) * parameters["sigma"]
        return paste(image, wrapped(noise), stored_mask(parameters, image))
