"""A run as a report sees it: frozen values, tolerant of unknown keys, empty where a stage has not run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from medpref.schema import Example, OwnReply, PreferencePair, VerdictRow


class Read(BaseModel):
    """A frozen value of another stage's file; keys that this report does not know are left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Measure(Read):
    """One metric of one model on one question type or slice; ``value`` None means not judged."""

    metric: str
    kind: str = "all"
    slice: str = "all"
    value: float | None = None
    low: float | None = None
    high: float | None = None
    items: int = 0
    clusters: int = 0


class Alarm(Read):
    """A warning sign, or the statement that it was looked for and is not there."""

    name: str
    value: Any = None
    text: str = ""
    level: str = "ok"


class Comparison(Read):
    """A paired difference ``a - b`` on the same questions."""

    a: str
    b: str
    metric: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    items: int = 0
    clusters: int = 0


class Evaluated(Read):
    """``eval/NAME``: estimates, alarms, and the replies and verdicts behind them."""

    name: str
    measures: tuple[Measure, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    replies: tuple[OwnReply, ...] = ()
    verdicts: tuple[VerdictRow, ...] = ()


class Arm(Read):
    """``train/NAME``: the logged steps and the manifest."""

    name: str
    steps: tuple[Mapping[str, Any], ...] = ()
    manifest: Mapping[str, Any] = {}


class PairSet(Read):
    """``pairs/NAME``: the pairs, how many examples were dropped for which reason, and the data card."""

    name: str
    pairs: tuple[PreferencePair, ...] = ()
    dropped: Mapping[str, int] = {}
    card: Mapping[str, Any] = {}


class Dataset(Read):
    """``examples/``: counts of everything, and the examples themselves where a pair or a reply speaks of them."""

    splits: Mapping[str, int] = {}
    patients: Mapping[str, int] = {}
    sources: tuple[str, ...] = ()
    credentialed: int = 0
    manifest: Mapping[str, Any] = {}
    examples: Mapping[str, Example] = {}


class Run(Read):
    """Everything a report shows."""

    root: Path
    facts: Mapping[str, Any] = {}
    summary: Mapping[str, Any] = {}
    dataset: Dataset = Dataset()
    pair_sets: tuple[PairSet, ...] = ()
    arms: tuple[Arm, ...] = ()
    models: tuple[Evaluated, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


def is_control(name: str) -> bool:
    """Whether a name is that of a likelihood-only control arm (a recipe may well be called ``fire_mpo_control``)."""
    return name == "control" or name.endswith("sft_control")


def is_synthetic(run: Run) -> bool:
    """Whether the run's images are drawn: what ``summary.json`` says, else whether the source is the phantom."""
    said = run.summary.get("synthetic")
    return bool(said) if said is not None else str(run.facts.get("source", "")).startswith("phantom")
