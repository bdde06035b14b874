"""A model without its PEFT wrapper."""

from __future__ import annotations

from typing import Any


def bare(model: Any) -> Any:
    """The transformers model itself; adapters stay in place inside it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
