"""The table at the end of a run: models by metrics with intervals, and the paired differences that matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medpref import store

COLUMNS = {
    "overall_accuracy": "accuracy",
    "overall_accuracy@shortcut=broken": "shortcut broken",
    "closed_accuracy": "closed",
    "open_f1": "open F1",
    "grounding_drop": "grounding (nats)",
    "counterfactual_accuracy": "counterfactual",
}


def print_table(root: Path) -> None:
    """Print the results of a finished run to standard output."""
    from rich.console import Console
    from rich.table import Table

    summary = store.read_json(root / "summary.json")
    shown = {key: title for key, title in COLUMNS.items() if any(key in m for m in summary["models"].values())}
    console = Console(width=None if Console().is_terminal else 150)
    table = Table(title=f"{summary['recipe']} on {summary['source']}, {summary['policy']}", title_justify="left")
    for title in ("model", *shown.values()):
        table.add_column(title, justify="left" if title == "model" else "right")
    for name, metrics in summary["models"].items():
        table.add_row(name, *(_cell(metrics.get(key)) for key in shown))
    console.print(table)
    differences = Table(title="paired differences (95 % interval)", title_justify="left")
    for title in ("a - b", *shown.values()):
        differences.add_column(title, justify="left" if title == "a - b" else "right")
    found: dict[str, dict[str, Any]] = {}
    for row in summary["comparisons"]:
        found.setdefault(f"{row['a']} - {row['b']}", {})[row["metric"]] = row
    for name, rows in found.items():
        differences.add_row(name, *(_cell(rows.get(key), "difference") for key in shown))
    console.print(differences)
    if summary["synthetic"]:
        console.print("Synthetic phantom data: these numbers say nothing about clinical performance.")


def _cell(row: dict[str, Any] | None, key: str = "value") -> str:
    if row is None or row[key] is None:
        return "-"
    sign = "+" if key == "difference" else ""
    star = "*" if key == "difference" and (row["low"] > 0 or row["high"] < 0) else ""
    return f"{row[key]:{sign}.3f}{star} [{row['low']:{sign}.2f}, {row['high']:{sign}.2f}]"
