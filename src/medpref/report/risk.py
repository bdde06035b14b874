"""Risk-coverage on the page: one chart and one table a kind of confidence. Computed before; only drawn here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from medpref import store
from medpref.report.curves import Panel
from medpref.report.lines import Line, charts
from medpref.report.values import Ranged, RiskCurve, Run
from medpref.report.words import model_label, number

KINDS = {
    "choice": ("Forced choice", "the probability of the chosen answer among the choices of a closed question"),
    "reply": ("Free reply", "the mean probability of the reply's tokens; closed and open questions, no reports"),
}
SHOWN = (0.5, 0.8, 1.0)


class RiskRow(NamedTuple):
    """One model: its area and its error at the coverages of ``SHOWN``, each ``(value, interval)`` in per cent."""

    model: str
    cells: tuple[tuple[str, str], ...]
    behind: str


class Confidence(NamedTuple):
    """One kind of confidence."""

    title: str
    note: str
    panels: tuple[Panel, ...]
    heads: tuple[str, ...]
    rows: tuple[RiskRow, ...]


def with_risk(run: Run, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Run:
    """The run with risk-coverage curves by model name; DataError where a curve is not one."""
    models = []
    for model in run.models:
        where = f"risk-coverage of {model.name}"
        risk = tuple(store.parse_row(RiskCurve, row, where=where) for row in curves.get(model.name, ()))
        models.append(model.model_copy(update={"risk": risk}))
    return run.model_copy(update={"models": tuple(models)})


def confidences(run: Run) -> list[Confidence]:
    """The kinds of confidence that any model has, forced choice first."""
    found = []
    for kind, (title, note) in KINDS.items():
        held = [(model.name, curve) for model in run.models for curve in model.risk if curve.confidence == kind]
        if held:
            lines = [
                Line(name, [100 * at.coverage for at in curve.points], [100 * at.value for at in curve.points])
                for name, curve in held
            ]
            panels = charts(f"{title}: error, %", lines, x_label="share answered, %")
            heads = ("Area (AURC)", *(f"Error at {share:.0%}" for share in SHOWN))
            found.append(Confidence(title, note, tuple(panels), heads, tuple(_row(*one) for one in held)))
    return found


def _row(model: str, curve: RiskCurve) -> RiskRow:
    at = {point.coverage: point for point in curve.points}
    cells = (_cell(curve.area), *(_cell(at.get(share)) for share in SHOWN))
    return RiskRow(model_label(model), cells, f"{curve.items:,} / {curve.clusters:,}")


def _cell(held: Ranged | None) -> tuple[str, str]:
    if held is None:
        return number(None), ""
    ends = [number(end, percent=True) for end in (held.low, held.high)]
    return number(held.value, percent=True), " to ".join(ends) if held.low is not None else ""
