"""Training curves of an arm from its ``steps.jsonl`` rows: one panel a quantity, one line a logged name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from medpref.report.figure import Series, chart, thin_out
from medpref.report.values import Arm
from medpref.report.words import sentence

POINTS = 300
TOGETHER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Loss", ("loss",)),
    ("Log-probability of the replies, nats", ("logps/chosen", "logps/rejected")),
    ("Implicit rewards", ("rewards/chosen", "rewards/rejected")),
    ("Reward margin", ("rewards/margins",)),
    ("Pairs ranked right, share", ("rewards/accuracies",)),
)
LAST = (("Learning rate", ("learning_rate",)), ("Gradient norm", ("grad_norm",)))


class Panel(NamedTuple):
    """One chart with the names of its lines (a legend is needed only for several)."""

    title: str
    figure: Markup
    legend: tuple[tuple[str, int], ...]


def panels(arm: Arm) -> list[Panel]:
    """Loss, each term, rewards and log-probabilities of one arm, then the optimiser's; absent ones are left out."""
    terms = sorted({key for row in arm.steps for key in row if key.startswith("terms/")})
    groups = [TOGETHER[0], *((f"Term: {key.removeprefix('terms/')}", (key,)) for key in terms), *TOGETHER[1:], *LAST]
    found = (_panel(title, keys, rows=arm.steps) for title, keys in groups)
    return [panel for panel in found if panel is not None]


def _panel(title: str, keys: Sequence[str], *, rows: Sequence[Mapping[str, Any]]) -> Panel | None:
    series = []
    for index, key in enumerate(keys):
        held = [row for row in rows if key in row and "step" in row]
        ys = [_finite(row[key]) for row in held]
        if any(y is not None for y in ys):
            xs, ys = thin_out([float(row["step"]) for row in held], ys, limit=POINTS)
            series.append(Series(sentence(key.rsplit("/", 1)[-1]), xs, ys, _colour(key, index)))
    if not series:
        return None
    legend = tuple((held.label, held.series) for held in series) if len(series) > 1 else ()
    return Panel(title, chart(title, series), legend)


def _colour(key: str, index: int) -> int:
    return {"chosen": 1, "rejected": 2}.get(key.rsplit("/", 1)[-1], index + 1)


def _finite(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
