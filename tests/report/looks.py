"""What an evaluation adds that was asked for robustness and attention, made of arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medpref import store
from medpref.schema import VerdictRow
from medpref.seeds import generator


def write_looks(folder: Path, name: str, verdicts: Sequence[VerdictRow], *, skill: float, seed: int) -> None:
    """Robustness and attention, as an evaluation that was asked for them writes them."""
    curves = []
    for way, cost in (("all", 0.05), ("blur", 0.03), ("noise", 0.07)):
        for severity in range(6):
            value = max(0.0, skill - cost * severity)
            kept = (("accuracy", value), ("loss", skill - value)) if severity else (("accuracy", value),)
            curves += [_row(value, degradation=way, severity=severity, metric=metric) for metric, value in kept]
    store.write_json(folder / "robustness.json", curves)
    metrics = {"ratio": 1 + skill, "kl": 1.2, "js": 0.3}
    layers = [_row(v * (1 + n / 9), layer=n, metric=f"attention_{m}") for n in range(4) for m, v in metrics.items()]
    store.write_json(folder / "attention.json", layers)
    wrong = [row.example for row in verdicts if row.value == 0 and row.kind in ("side", "presence")]
    maps = []
    for example in wrong:
        rng = generator(seed, "map", name, example)
        for kind in ("attention", "saliency"):
            values = np.rint(255 * rng.random(36) ** 3).astype(int).tolist()
            maps.append({"example": example, "kind": kind, "rows": 6, "columns": 6, "values": values})
    store.write_json(folder / "maps.json", maps)


def _row(value: float, **what: Any) -> dict[str, Any]:
    return {**what, "value": value, "low": value - 0.04, "high": value + 0.05, "items": 8, "clusters": 4}
