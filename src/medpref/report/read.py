"""A run folder in, frozen values out. Never writes, and never computes a result that a stage did not compute.

Knows: the layout of a run folder. Tolerates: unknown keys, and stages that have not run (their part is empty), so that
a run can be looked at while it is under way. A row that is present and wrong is still an error that names its line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from medpref import store
from medpref.errors import ArtifactError
from medpref.schema import CLEAN, Example, OwnReply, PreferencePair, VerdictRow


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
    kinds: Mapping[str, int] = {}
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


def read_run(root: Path) -> Run:
    """A run folder as values; ArtifactError where the folder holds neither ``run.json`` nor ``summary.json``."""
    facts, summary = _mapping(root / "run.json"), _mapping(root / "summary.json")
    if not facts and not summary:
        todo = "check the path, or carry out a run first"
        raise ArtifactError(str(root), given="no run.json and no summary.json", expected="a run folder", todo=todo)
    pair_sets = tuple(_read_pairs(folder) for folder in _folders(root / "pairs"))
    models = tuple(_read_model(folder) for folder in _folders(root / "eval") if (folder / "estimates.json").exists())
    needed = {pair.example for held in pair_sets for pair in held.pairs}
    needed |= {reply.example for model in models for reply in model.replies}
    order = [str(arm.get("name")) for arm in summary.get("arms") or () if isinstance(arm, dict)]
    return Run(
        root=root,
        facts=facts,
        summary=summary,
        dataset=_read_examples(root / "examples", needed),
        pair_sets=_in_order(pair_sets, order),
        arms=_in_order([_read_arm(folder) for folder in _folders(root / "train")], order),
        models=_in_order(_with_summary(models, summary), order),
        comparisons=_parsed(Comparison, summary.get("comparisons"), where=root / "summary.json"),
    )


def _in_order(held: Sequence[Any], order: Sequence[str]) -> tuple[Any, ...]:
    """Base, SFT, controls, then the recipes in the run's order. It is not a leaderboard."""
    place = {name: index for index, name in enumerate(order)}
    rank = {"base": 0, "sft": 1}
    later = len(order)
    return tuple(
        sorted(held, key=lambda v: (rank.get(v.name, 2 if is_control(v.name) else 3), place.get(v.name, later), v.name))
    )


def is_control(name: str) -> bool:
    """Whether a name is that of a likelihood-only control arm."""
    return name == "control" or name.endswith("_control")


def is_synthetic(run: Run) -> bool:
    """Whether the run's images are drawn: what ``summary.json`` says, else whether the source is the phantom."""
    said = run.summary.get("synthetic")
    return bool(said) if said is not None else str(run.facts.get("source", "")).startswith("phantom")


def _with_summary(models: tuple[Evaluated, ...], summary: Mapping[str, Any]) -> tuple[Evaluated, ...]:
    """The models, with ``summary.json`` standing in for those whose ``eval/NAME`` is not there."""
    held = {model.name for model in models}
    added = []
    for name, metrics in dict(summary.get("models") or {}).items():
        if name not in held:
            measures = tuple(_measure(key, cell) for key, cell in dict(metrics).items())
            added.append(Evaluated(name=name, measures=measures))
    return (*models, *added)


def _measure(key: str, cell: Mapping[str, Any]) -> Measure:
    """``metric``, ``metric@key=value`` (a slice) or ``metric@kind=KIND`` with its cell."""
    metric, _, part = key.partition("@")
    kind = part.removeprefix("kind=") if part.startswith("kind=") else "all"
    return Measure(metric=metric, kind=kind, slice=part if part and kind == "all" else "all", **dict(cell))


def _read_model(folder: Path) -> Evaluated:
    path = folder / "estimates.json"
    held = _mapping(path)
    replies, verdicts = folder / "replies.jsonl", folder / "verdicts.jsonl"
    return Evaluated(
        name=folder.name,
        measures=_parsed(Measure, held.get("estimates"), where=path),
        alarms=_parsed(Alarm, held.get("alarms"), where=path),
        replies=tuple(reply for reply in _lines(replies, OwnReply) if reply.view == CLEAN),
        verdicts=tuple(_lines(verdicts, VerdictRow)),
    )


def _read_pairs(folder: Path) -> PairSet:
    path = folder / "dropped.jsonl"
    dropped = Counter(_reason(row) for _, row in store.iter_lines(path)) if path.exists() else {}
    pairs = tuple(_lines(folder / "pairs.jsonl", PreferencePair))
    return PairSet(name=folder.name, pairs=pairs, dropped=dict(dropped), card=_mapping(folder / "card.json"))


def _reason(row: Mapping[str, Any]) -> str:
    said = [str(row[key]) for key in ("builder", "step", "reason") if row.get(key)]
    return ": ".join(said) or "no reason given"


def _read_arm(folder: Path) -> Arm:
    path = folder / "steps.jsonl"
    steps = tuple(row for _, row in store.iter_lines(path)) if path.exists() else ()
    return Arm(name=folder.name, steps=steps, manifest=_mapping(folder / store.MANIFEST))


def _read_examples(folder: Path, needed: set[str]) -> Dataset:
    """Counts over all rows; only the needed ones become Examples, so that a large source stays cheap to report."""
    path = folder / "examples.jsonl"
    if not path.exists():
        return Dataset()
    splits: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    patients: dict[str, set[str]] = {}
    sources: set[str] = set()
    credentialed, examples = 0, {}
    for number, row in store.iter_lines(path):
        split = str(row.get("split"))
        splits[split] += 1
        kinds[str(row.get("kind", "open"))] += 1
        patients.setdefault(split, set()).add(str(row.get("patient")))
        sources.add(str(row.get("source") or ""))
        credentialed += bool(row.get("credentialed"))
        if row.get("id") in needed:
            examples[row["id"]] = store.parse_row(Example, row, where=f"{path}:{number}")
    return Dataset(
        splits=dict(splits),
        patients={split: len(held) for split, held in patients.items()},
        kinds=dict(kinds.most_common()),
        sources=tuple(sorted(sources - {""})),
        credentialed=credentialed,
        manifest=_mapping(folder / store.MANIFEST),
        examples=examples,
    )


def _folders(parent: Path) -> list[Path]:
    """Finished folders by name; what a stage is still writing (``NAME.partial``) is not read."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.endswith(".partial"))


def _mapping(path: Path) -> Mapping[str, Any]:
    held = store.read_json(path) if path.exists() else {}
    return held if isinstance(held, dict) else {}


def _lines(path: Path, cls: type[Any]) -> list[Any]:
    return store.read_lines(path, cls) if path.exists() else []


def _parsed(cls: type[Any], rows: Any, *, where: Path) -> tuple[Any, ...]:
    return tuple(store.parse_row(cls, row, where=f"{where}[{number}]") for number, row in enumerate(rows or ()))
