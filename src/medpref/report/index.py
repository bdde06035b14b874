"""An index of runs: one page that lists every run below a folder with its main results and a link to its report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from medpref import store
from medpref.errors import ArtifactError
from medpref.report.contrast import Difference, contrasts, headlines, tally
from medpref.report.page import PAGE, content_policy, title_of
from medpref.report.read import read_head
from medpref.report.table import Row
from medpref.report.table import headlines as metric_headlines
from medpref.report.template import render, source_of
from medpref.report.values import Run, is_synthetic
from medpref.report.words import model_label, number

DEPTH = 3


class Listed(NamedTuple):
    """One run of the index; ``link`` is relative to the page, empty where no report was written."""

    folder: str
    title: str
    link: str
    policy: str
    seed: str
    synthetic: bool
    metric: str
    models: tuple[tuple[str, str], ...]
    against: tuple[tuple[str, Difference], ...]

    @property
    def tally(self) -> str:
        """How many of the differences go which way."""
        return tally([row for _, row in self.against])


def write_index(runs: Path, out: Path) -> dict[str, int]:
    """Write ``out/index.html`` over every run at most three folders below ``runs``; returns their number.

    ArtifactError where there is none.
    """
    folders = find_runs(runs)
    if not folders:
        given = "no folder with a run.json below it"
        raise ArtifactError(str(runs), given=given, expected="run folders", todo="check the path")
    listed = [_listed(read_head(folder), runs=runs, out=out) for folder in folders]
    html = render("index.html.j2", runs=listed, style=source_of("style.css"), policy=content_policy(""))
    store.write_text(out / PAGE, html)
    return {"runs": len(listed), "bytes": len(html.encode())}


def find_runs(folder: Path) -> list[Path]:
    """Folders with a ``run.json``, ``folder`` itself or up to three levels below it; runs are not searched."""
    found, level = [], [folder]
    for _ in range(DEPTH + 1):
        runs = [path for path in level if (path / "run.json").is_file()]
        found += runs
        rest = [path for path in level if path not in runs and path.is_dir()]
        level = [inner for path in rest for inner in path.iterdir() if inner.is_dir() and not inner.is_symlink()]
    return sorted(found)


def _listed(run: Run, *, runs: Path, out: Path) -> Listed:
    report = run.root / "report" / PAGE
    rows = metric_headlines(run, limit=1)
    said = {**run.facts, **run.summary}
    return Listed(
        folder=os.path.relpath(run.root, runs),
        title=title_of(run),
        link=Path(os.path.relpath(report, out)).as_posix() if report.exists() else "",
        policy=str(said.get("policy", "")),
        seed=str(said.get("seed", "")),
        synthetic=is_synthetic(run),
        metric=rows[0].label + (", %" if rows[0].words.percent else "") if rows else "",
        models=_cells(run, rows[0]) if rows else (),
        against=tuple(
            (model_label(held.a), row)
            for held in contrasts(run)
            if held.against_control
            for row in headlines(held, limit=3)
        ),
    )


def _cells(run: Run, row: Row) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for model, cell in zip(run.models, row.cells, strict=True):
        held: Any = cell
        if held is not None and held.value is not None:
            percent = row.words.percent
            ends = f"{number(held.low, percent=percent)} to {number(held.high, percent=percent)}"
            found.append((model_label(model.name), f"{number(held.value, percent=percent)} ({ends})"))
    return tuple(found)
