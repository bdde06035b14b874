"""The tables of a report as values: models by metrics, by question type and by slice. Models are never ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from medpref.report.values import Measure, Run
from medpref.report.words import Words, headline, metric_words, model_label, part_label

ALL = "all"
PartOf = Callable[[Measure], str | None]


class Row(NamedTuple):
    """One line: a metric, a question type or a slice (``key``), and one cell a model (None = not there)."""

    key: str
    label: str
    words: Words
    cells: tuple[Measure | None, ...]

    @property
    def behind(self) -> str:
        """Items and clusters, where all models agree on them."""
        counts = {(cell.items, cell.clusters) for cell in self.cells if cell is not None}
        if len(counts) != 1:
            return "differ" if counts else "—"
        items, clusters = counts.pop()
        return f"{items:,} / {clusters:,}"


class Grid(NamedTuple):
    """A table whose columns are models."""

    title: str
    models: tuple[str, ...]
    rows: tuple[Row, ...]

    def only(self, wanted: Callable[[Row], bool]) -> Grid:
        """The table with the wanted rows alone."""
        return self._replace(rows=tuple(row for row in self.rows if wanted(row)))


def results(run: Run) -> Grid:
    """Overall metrics (all question types, all slices) of every model, headline metrics first."""
    found = _gather(run, lambda held: ALL if (held.kind, held.slice) == (ALL, ALL) else None)
    rows = (
        _row(run, found[metric][ALL], key=metric, label=metric_words(metric).label, metric=metric)
        for metric in _ordered(found)
    )
    return Grid("Results", _models(run), tuple(rows))


def headlines(run: Run, limit: int = 6) -> list[Row]:
    """The rows a reader sees first, slices among them (``metric@key=value``)."""
    found = _gather(run, lambda held: held.slice if held.kind == ALL else None)
    cells = {}
    for metric, parts in found.items():
        for part, by_model in parts.items():
            cells[metric if part == ALL else f"{metric}@{part}"] = by_model
    chosen = headline(list(cells), limit)
    return [_row(run, cells[key], key=key, label=metric_words(key).label, metric=key) for key in chosen]


def by_kind(run: Run) -> list[Grid]:
    """One table a metric: question types by models. Headline metrics come first."""
    return _breakdown(run, lambda held: held.kind if held.slice == ALL and held.kind != ALL else None)


def by_slice(run: Run) -> list[Grid]:
    """One table a metric: slices of the test examples by models, over all question types."""
    return _breakdown(run, lambda held: held.slice if held.kind == ALL and held.slice != ALL else None)


def only(grids: Iterable[Grid], wanted: Callable[[Row], bool]) -> list[Grid]:
    """The tables with the wanted rows alone; empty tables are left out."""
    kept = (grid.only(wanted) for grid in grids)
    return [grid for grid in kept if grid.rows]


def _breakdown(run: Run, part_of: PartOf) -> list[Grid]:
    found = _gather(run, part_of)
    grids = []
    for metric in _ordered(found):
        parts = sorted(found[metric].items())
        rows = tuple(_row(run, cells, key=part, label=part_label(part), metric=metric) for part, cells in parts)
        grids.append(Grid(metric_words(metric).label, _models(run), rows))
    return grids


def _gather(run: Run, part_of: PartOf) -> dict[str, dict[str, dict[str, Measure]]]:
    """The measures that have a part, as metric -> part -> model -> measure."""
    found: dict[str, dict[str, dict[str, Measure]]] = {}
    for model in run.models:
        for held in model.measures:
            part = part_of(held)
            if part is not None:
                found.setdefault(held.metric, {}).setdefault(part, {})[model.name] = held
    return found


def _ordered(metrics: Iterable[str]) -> list[str]:
    names = list(metrics)
    first = headline(names, limit=len(names))
    return first + [name for name in names if name not in first]


def _row(run: Run, cells: Mapping[str, Measure], *, key: str, label: str, metric: str) -> Row:
    return Row(key, label, metric_words(metric), tuple(cells.get(model.name) for model in run.models))


def _models(run: Run) -> tuple[str, ...]:
    return tuple(model_label(model.name) for model in run.models)
