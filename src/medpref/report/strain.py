"""Curves over something that was varied: accuracy as images degrade, attention from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from medpref.report.curves import Panel
from medpref.report.lines import End, Line, charts
from medpref.report.table import Grid, Row
from medpref.report.values import Degraded, Evaluated, Layer, Measure, Run
from medpref.report.words import Words, metric_words, model_label, sentence

ALL = "all"
ACCURACY = Words("Accuracy", True, "higher")
LOSS = Words("Accuracy lost", True, "lower")


class Robustness(NamedTuple):
    """The mean over all ways, each way on its own, what the worst severity costs, and every severity as a table."""

    overall: tuple[Panel, ...]
    ways: tuple[Panel, ...]
    worst: Grid
    severities: Grid


def robustness(run: Run) -> Robustness | None:
    """What the evaluations found on degraded images; None where none was asked for it."""
    held = [model for model in run.models if model.degraded]
    if not held:
        return None
    names = list(dict.fromkeys(row.degradation for model in held for row in model.degraded if row.degradation != ALL))
    steps = sorted({row.severity for model in held for row in model.degraded})
    ways = [panel for name in names for panel in _panels(held, name)]
    labels = tuple(model_label(model.name) for model in held)
    last = steps[-1]
    worst = [
        _row(held, sentence(name), _is(name, last, "loss"), words=LOSS) for name in (*([ALL] if names else []), *names)
    ]
    levels = [_row(held, _severity(step), _is(ALL, step, "accuracy"), words=ACCURACY) for step in steps]
    return Robustness(
        tuple(_panels(held, ALL)),
        tuple(ways),
        Grid(f"Accuracy lost at severity {last}", labels, tuple(worst)),
        Grid("Accuracy by severity, mean over all ways", labels, tuple(levels)),
    )


def attention(run: Run) -> list[Panel]:
    """Ratio and JS of attention against the regions, layer by layer; nothing where no evaluation was asked for it."""
    found: list[Panel] = []
    for metric in ("attention_ratio", "attention_js"):
        lines = []
        for model in run.models:
            rows = sorted((row for row in model.layers if row.metric == metric), key=lambda row: row.layer)
            if rows:
                lines.append(
                    Line(model.name, [row.layer + 1 for row in rows], [row.value for row in rows], _ends(rows))
                )
        found += charts(metric_words(metric).label, lines, x_label="layer") if lines else []
    return found


def _is(name: str, severity: int, metric: str) -> Callable[[Degraded], bool]:
    return lambda row: (row.degradation, row.severity, row.metric) == (name, severity, metric)


def _severity(step: int) -> str:
    return f"Severity {step}" if step else "As it is"


def _panels(models: Sequence[Evaluated], name: str) -> list[Panel]:
    lines = []
    for model in models:
        rows = [row for row in model.degraded if (row.degradation, row.metric) == (name, "accuracy")]
        rows.sort(key=lambda row: row.severity)
        shown = [row.model_copy(update=_percent(row)) for row in rows]
        lines.append(Line(model.name, [row.severity for row in shown], [row.value for row in shown], _ends(shown)))
    label = "Mean over all ways" if name == ALL else sentence(name)
    return charts(f"{label}: accuracy, %", [line for line in lines if line.xs], x_label="severity")


def _percent(row: Degraded) -> dict[str, float | None]:
    ends = {"value": row.value, "low": row.low, "high": row.high}
    return {key: None if end is None else 100 * end for key, end in ends.items()}


def _ends(rows: Sequence[Degraded | Layer]) -> list[End]:
    """Intervals to draw; one patient's says that nothing is known, which a bar from end to end does not help."""
    return [None if row.low is None or row.high is None or row.clusters < 2 else (row.low, row.high) for row in rows]


def _row(models: Sequence[Evaluated], label: str, wanted: Callable[[Degraded], bool], *, words: Words) -> Row:
    found = (next(filter(wanted, model.degraded), None) for model in models)
    cells = tuple(None if one is None else _measure(one) for one in found)
    return Row(label, label, words, cells)


def _measure(row: Degraded) -> Measure:
    ends = {"value": row.value, "low": row.low, "high": row.high}
    return Measure(metric=row.metric, items=row.items, clusters=row.clusters, **ends)
