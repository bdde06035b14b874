"""Tiny policies with random weights and images of noise, built once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from medpref.models.policy import Policy, load_policy

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def policy_of() -> Callable[[str], Policy]:
    """``policy_of("llava-mistral")``: the random tiny policy of this name, built once; tests must not change it."""
    built: dict[str, Policy] = {}

    def build(name: str) -> Policy:
        if name not in built:
            built[name] = load_policy(f"tiny:{name}@random:1")
        return built[name]

    return build


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    """Four greyscale images of noise, of different sizes."""
    rng = np.random.default_rng(0)
    sizes = ((96, 96), (130, 90), (64, 100), (112, 112))
    return [Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)) for size in sizes]
