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


class Ranged(Read):
    """A number with its interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


class RiskPoint(Ranged):
    """The share wrong among the surest share ``coverage`` of the answers."""

    coverage: float


class RiskCurve(Read):
    """How wrong a model is when it answers only what it is sure of, by one kind of confidence."""

    confidence: str
    area: Ranged
    points: tuple[RiskPoint, ...]
    items: int = 0
    clusters: int = 0


class Degraded(Ranged):
    """Accuracy, or its paired loss, with images degraded in one way and severity; severity 0 is the image itself."""

    degradation: str
    severity: int
    metric: str
    items: int = 0
    clusters: int = 0


class Layer(Ranged):
    """One measure of attention in one layer."""

    layer: int
    metric: str
    items: int = 0
    clusters: int = 0


class LookMap(Read):
    """Where a model looked on one example: whole numbers from 0 to 255, row by row over the whole image."""

    example: str
    kind: str
    rows: int
    columns: int
    values: tuple[int, ...]


class Evaluated(Read):
    """``eval/NAME``: estimates, alarms, and the replies and verdicts behind them; ``risk`` is computed for a page.

    ``degraded``, ``layers`` and ``maps`` are there where the evaluation was asked for robustness or attention.
    """

    name: str
    measures: tuple[Measure, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    replies: tuple[OwnReply, ...] = ()
    verdicts: tuple[VerdictRow, ...] = ()
    risk: tuple[RiskCurve, ...] = ()
    degraded: tuple[Degraded, ...] = ()
    layers: tuple[Layer, ...] = ()
    maps: tuple[LookMap, ...] = ()


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
