"""Curves are drawn for what was logged, and only for that."""

from __future__ import annotations

import math

from medpref.report.curves import panels
from medpref.report.values import Arm, Run


def test_a_recipe_has_a_panel_for_each_term_and_the_rewards(run: Run) -> None:
    found = {panel.title: panel.legend for panel in panels(run.arms[-1])}
    assert list(found) == [
        "Loss",
        "Term: text",
        "Term: visual",
        "Log-probability of the replies, nats",
        "Implicit rewards",
        "Reward margin",
        "Pairs ranked right, share",
        "Learning rate",
        "Gradient norm",
    ]
    assert found["Implicit rewards"] == (("Chosen", 1), ("Rejected", 2))
    assert found["Loss"] == ()


def test_sft_has_no_rewards(run: Run) -> None:
    assert [panel.title for panel in panels(run.arms[0])] == ["Loss", "Learning rate", "Gradient norm"]


def test_values_that_are_no_numbers_are_gaps() -> None:
    rows = (
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": math.nan},
        {"step": 3, "loss": None},
        {"step": 4, "loss": 2.0},
    )
    (panel,) = panels(Arm(name="x", steps=rows))
    assert "from 1 to 2" in panel.figure
    assert str(panel.figure).count("M") == 2


def test_nothing_logged_is_no_panel() -> None:
    assert panels(Arm(name="x")) == []
    assert panels(Arm(name="x", steps=({"step": 1, "loss": math.nan},))) == []


def test_long_runs_are_thinned() -> None:
    rows = tuple({"step": step, "loss": 1.0} for step in range(1, 5001))
    (panel,) = panels(Arm(name="x", steps=rows))
    assert len(panel.figure) < 20_000
