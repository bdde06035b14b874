"""Random generators derived by name, so that results depend on neither order, batch size nor workers."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *names: str) -> int:
    """A 63-bit seed from the run's seed and the names of its purpose (stage, component, example id).

    >>> derive_seed(0, "noise", "a") == derive_seed(0, "noise", "a") != derive_seed(0, "noise", "b")
    True
    """
    text = "\x1f".join([str(seed), *names]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: str) -> np.random.Generator:
    """A numpy generator for one named purpose."""
    return np.random.default_rng(derive_seed(seed, *names))
