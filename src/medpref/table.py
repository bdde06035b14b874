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
    for line in _warnings(root, list(summary["models"])):
        console.print(line, markup=False, highlight=False)
    if summary["synthetic"]:
        console.print("Synthetic phantom data: these numbers say nothing about clinical performance.")


def _warnings(root: Path, models: list[str]) -> list[str]:
    """One line an alarm that warns, with the models it speaks of; the report has each one's text."""
    found: dict[str, list[str]] = {}
    for model in models:
        path = root / "eval" / model / "estimates.json"
        for alarm in store.read_json(path).get("alarms", ()) if path.exists() else ():
            if alarm["level"] != "ok":
                found.setdefault(str(alarm["name"]), []).append(model)
    return [f"alarm {name}: {', '.join(held)}" for name, held in found.items()]


def _cell(row: dict[str, Any] | None, key: str = "value") -> str:
    if row is None or row[key] is None:
        return "-"
    sign = "+" if key == "difference" else ""
    star = "*" if key == "difference" and (row["low"] > 0 or row["high"] < 0) else ""
    return f"{row[key]:{sign}.3f}{star} [{row['low']:{sign}.2f}, {row['high']:{sign}.2f}]"
