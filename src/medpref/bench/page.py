"""The leaderboard as one self-contained HTML page, with forest plots; as Markdown; and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from markupsafe import Markup

from medpref import store
from medpref.bench.live import clock
from medpref.bench.values import OPPONENTS, Board, Level, Row, Table, Versus
from medpref.bench.view import Against, Line, Section, findings, is_synthetic, sections, short_titles
from medpref.report.figure import Interval, forest, strip
from medpref.report.page import content_policy
from medpref.report.template import render, source_of

HTML, MARKDOWN, CSV = "leaderboard.html", "leaderboard.md", "leaderboard.csv"
COLOURS = {"base": 0, "sft": 3, "control": 2, "method": 1}
LEVEL_FIELDS = ("value", "deviation", "low", "high", "seeds", "items", "clusters")
VERSUS_FIELDS = ("difference", "deviation", "low", "high", "p", "p_holm", "outcome", "seeds")


def write_page(board: Board, out: Path, *, index: str = "") -> None:
    """Write ``leaderboard.html``; ``index`` is the link to the index of the cells' reports, relative to the page."""
    names = short_titles(board.tables)
    tables = [
        (f"table-{number}", name, table, _drawn(table), findings(table))
        for number, (name, table) in enumerate(zip(names, board.tables, strict=True))
    ]
    html = render(
        "leaderboard.html.j2",
        **_context(board),
        tables=tables,
        index=index,
        cells=[(cell, _report(cell.folder, out)) for cell in board.cells],
        style=source_of("style.css"),
        policy=content_policy(""),
        colours={role: COLOURS[role] for role in ("method", "control", "sft", "base")},
    )
    store.write_text(out / HTML, html)


def write_markdown(board: Board, path: Path, *, command: str) -> None:
    """Write the leaderboard as a Markdown page, for example ``docs/results/NAME.md``."""
    tables = [(table, sections(table), findings(table)) for table in board.tables]
    store.write_text(path, render("leaderboard.md.j2", **_context(board), tables=tables, command=command))


def write_csv(board: Board, path: Path) -> None:
    """Write one line a table, row and metric, with full precision."""
    text = io.StringIO()
    against = [f"minus_{opponent}_{field}" for opponent in OPPONENTS for field in VERSUS_FIELDS]
    head = ["policy", "source", "synthetic", "name", "role", "recipe", "control", "metric", *LEVEL_FIELDS]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, "place_best", "place_worst", *against])
    for table in board.tables:
        for row in table.rows:
            for metric in table.metrics:
                if metric in row.levels:
                    writer.writerow(_csv_line(table, row, metric, row.levels[metric]))
    store.write_text(path, text.getvalue())


def _csv_line(table: Table, row: Row, metric: str, level: Level) -> list[Any]:
    best, worst = level.rank or ("", "")
    found = [table.policy, table.source, table.synthetic, row.name, row.role, row.recipe, row.control, metric]
    found += [getattr(level, field) for field in LEVEL_FIELDS] + [best, worst]
    for opponent in OPPONENTS:
        held: Versus | None = row.against.get(opponent, {}).get(metric)
        found += [getattr(held, field) if held else "" for field in VERSUS_FIELDS]
    return ["" if value is None else value for value in found]


def _context(board: Board) -> dict[str, Any]:
    finished = [cell for cell in board.cells if not cell.error]
    facts = [
        ("Grid", board.name),
        ("Seeds", ", ".join(map(str, board.seeds))),
        ("Cells", f"{len(finished)} of {len(board.cells)} finished"),
        ("Failures", str(len(board.failed))),
        ("Time", clock(sum(cell.seconds for cell in board.cells))),
        ("medpref", board.medpref),
    ]
    return {"board": board, "facts": facts, "synthetic": is_synthetic(board), "opponents": OPPONENTS}


def _report(folder: str, out: Path) -> str:
    path = f"{folder}/report/index.html"
    return path if (out / path).is_file() else ""


def _drawn(table: Table) -> list[tuple[Section, Markup, Markup | None, dict[str, Markup]]]:
    """Each metric with its forest plots (levels, differences to the controls) and the latter as strips by model."""
    return [(section, _forest(section), _differences(section), _strips(section)) for section in sections(table)]


def _forest(section: Section) -> Markup:
    scale = 100 if section.words.percent else 1
    lines = [
        Interval(line.label, scale * held.value, scale * held.low, scale * held.high, COLOURS[line.row.role])
        for line in section.lines
        for held in (line.held,)
    ]
    return forest(section.label, lines)


def _differences(section: Section) -> Markup | None:
    """The paired differences to the matched controls as a forest plot; None where there is none."""
    scale = 100 if section.words.percent else 1
    lines = [
        Interval(line.label, scale * held.difference, scale * held.low, scale * held.high, _colour(held.outcome))
        for line in section.methods
        if (found := _to_control(line)) is not None
        for held in (found.held,)
    ]
    return forest(f"{section.label}, minus the matched control", lines) if lines else None


def _colour(outcome: str) -> int:
    return {"better": 1, "worse": 2}.get(outcome, 0)


def _strips(section: Section) -> dict[str, Markup]:
    """Differences to the control on one symmetric scale, by model."""
    held = {line.row.name: (line, found.held) for line in section.lines if (found := _to_control(line)) is not None}
    reach = max((abs(end) for _, one in held.values() for end in (one.low, one.high)), default=0.0) * 1.05 or 1.0
    return {
        name: strip(Interval(line.label, one.difference, one.low, one.high, _colour(one.outcome)), (-reach, reach))
        for name, (line, one) in held.items()
    }


def _to_control(line: Line) -> Against | None:
    return line.against[OPPONENTS.index("control")]
