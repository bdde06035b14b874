"""A run folder in, frozen values out. Never writes, and never computes a result that a stage did not compute.

Knows: the layout of a run folder. Tolerates: unknown keys, and stages that have not run (their part is empty), so that
a run can be looked at while it is under way. A row that is present and wrong is still an error that names its line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from medpref import store
from medpref.errors import ArtifactError
from medpref.report.values import (
    Alarm,
    Arm,
    Comparison,
    Dataset,
    Degraded,
    Evaluated,
    Layer,
    LookMap,
    Measure,
    PairSet,
    Run,
    is_control,
)
from medpref.schema import CLEAN, Example, OwnReply, PreferencePair, VerdictRow

Named = TypeVar("Named", Arm, PairSet, Evaluated)


def read_head(root: Path) -> Run:
    """A run without its rows: configuration, estimates, comparisons, cards and manifests, but no pair, reply or step.

    ArtifactError where the folder holds neither ``run.json`` nor ``summary.json``.
    """
    facts, summary = _mapping(root / "run.json"), _mapping(root / "summary.json")
    if not facts and not summary:
        todo = "check the path, or carry out a run first"
        raise ArtifactError(str(root), given="no run.json and no summary.json", expected="a run folder", todo=todo)
    order = [str(arm.get("name")) for arm in summary.get("arms") or () if isinstance(arm, dict)]
    models = [_model(folder) for folder in _folders(root / "eval") if (folder / "estimates.json").exists()]
    arms = [Arm(name=folder.name, manifest=_mapping(folder / store.MANIFEST)) for folder in _folders(root / "train")]
    return Run(
        root=root,
        facts=facts,
        summary=summary,
        dataset=Dataset(manifest=_mapping(root / "examples" / store.MANIFEST)),
        pair_sets=_in_order([_pair_set(folder) for folder in _folders(root / "pairs")], order),
        arms=_in_order(arms, order),
        models=_in_order([*models, *_summarised(models, summary)], order),
        comparisons=_parsed(Comparison, summary.get("comparisons"), where=root / "summary.json"),
    )


def read_run(root: Path) -> Run:
    """A run with all its rows; see :func:`read_head`. Examples are read where a pair or a reply speaks of them."""
    head = read_head(root)
    pair_sets = tuple(
        held.model_copy(update={"pairs": _lines(root / "pairs" / held.name / "pairs.jsonl", PreferencePair)})
        for held in head.pair_sets
    )
    models = tuple(_with_rows(held, root / "eval" / held.name) for held in head.models)
    arms = tuple(held.model_copy(update={"steps": _steps(root / "train" / held.name)}) for held in head.arms)
    needed = {pair.example for held in pair_sets for pair in held.pairs}
    needed |= {reply.example for model in models for reply in model.replies}
    dataset = _dataset(root / "examples", needed)
    dataset = dataset.model_copy(update={"examples": {**dataset.examples, **_made(root / "instructions", needed)}})
    return head.model_copy(update={"pair_sets": pair_sets, "models": models, "arms": arms, "dataset": dataset})


def _in_order(held: Sequence[Named], order: Sequence[str]) -> tuple[Named, ...]:
    """Base, SFT, controls, then the recipes in the run's order. It is not a leaderboard."""
    place = {name: index for index, name in enumerate(order)}
    rank = {"base": 0, "sft": 1}
    later = len(order)
    return tuple(
        sorted(held, key=lambda v: (rank.get(v.name, 2 if is_control(v.name) else 3), place.get(v.name, later), v.name))
    )


def _model(folder: Path) -> Evaluated:
    path = folder / "estimates.json"
    held = _mapping(path)
    return Evaluated(
        name=folder.name,
        measures=_parsed(Measure, held.get("estimates"), where=path),
        alarms=_parsed(Alarm, held.get("alarms"), where=path),
        degraded=_listed(Degraded, folder / "robustness.json"),
        layers=_listed(Layer, folder / "attention.json"),
    )


def _with_rows(model: Evaluated, folder: Path) -> Evaluated:
    replies = tuple(reply for reply in _lines(folder / "replies.jsonl", OwnReply) if reply.view == CLEAN)
    rows = {"verdicts": _lines(folder / "verdicts.jsonl", VerdictRow), "maps": _listed(LookMap, folder / "maps.json")}
    return model.model_copy(update={"replies": replies, **rows})


def _summarised(models: Sequence[Evaluated], summary: Mapping[str, Any]) -> list[Evaluated]:
    """What ``summary.json`` says of models whose ``eval/NAME`` is not there."""
    held = {model.name for model in models}
    return [
        Evaluated(name=name, measures=tuple(_measure(key, cell) for key, cell in dict(metrics).items()))
        for name, metrics in dict(summary.get("models") or {}).items()
        if name not in held
    ]


def _measure(key: str, cell: Mapping[str, Any]) -> Measure:
    """``metric``, ``metric@key=value`` (a slice) or ``metric@kind=KIND`` with its cell."""
    metric, _, part = key.partition("@")
    kind = part.removeprefix("kind=") if part.startswith("kind=") else "all"
    return Measure(metric=metric, kind=kind, slice=part if part and kind == "all" else "all", **dict(cell))


def _pair_set(folder: Path) -> PairSet:
    path = folder / "dropped.jsonl"
    dropped = Counter(_reason(row) for _, row in store.iter_lines(path)) if path.exists() else {}
    return PairSet(name=folder.name, dropped=dict(dropped), card=_mapping(folder / "card.json"))


def _reason(row: Mapping[str, Any]) -> str:
    said = [str(row[key]) for key in ("builder", "step", "reason") if row.get(key)]
    return ": ".join(said) or "no reason given"


def _steps(folder: Path) -> tuple[Mapping[str, Any], ...]:
    path = folder / "steps.jsonl"
    return tuple(row for _, row in store.iter_lines(path)) if path.exists() else ()


def _dataset(folder: Path, needed: set[str]) -> Dataset:
    """Counts over all rows; only the needed ones become Examples, so that a large source stays cheap to report."""
    path = folder / "examples.jsonl"
    if not path.exists():
        return Dataset()
    splits: Counter[str] = Counter()
    patients: dict[str, set[str]] = {}
    sources: set[str] = set()
    credentialed, examples = 0, {}
    for number, row in store.iter_lines(path):
        split = str(row.get("split"))
        splits[split] += 1
        patients.setdefault(split, set()).add(str(row.get("patient")))
        sources.add(str(row.get("source") or ""))
        credentialed += bool(row.get("credentialed"))
        if row.get("id") in needed:
            examples[row["id"]] = store.parse_row(Example, row, where=f"{path}:{number}")
    return Dataset(
        splits=dict(splits),
        patients={split: len(held) for split, held in patients.items()},
        sources=tuple(sorted(sources - {""})),
        credentialed=credentialed,
        manifest=_mapping(folder / store.MANIFEST),
        examples=examples,
    )


def _made(folder: Path, needed: set[str]) -> dict[str, Example]:
    """The needed ones of the examples that a recipe's instructions made; they count in no split."""
    path = folder / "examples.jsonl"
    rows = store.iter_lines(path) if path.exists() else ()
    return {
        row["id"]: store.parse_row(Example, row, where=f"{path}:{number}")
        for number, row in rows
        if row.get("id") in needed
    }


def _folders(parent: Path) -> list[Path]:
    """Finished folders by name; what a stage is still writing (``NAME.partial``) is not read."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.endswith(".partial"))


def _mapping(path: Path) -> Mapping[str, Any]:
    held = store.read_json(path) if path.exists() else {}
    return held if isinstance(held, dict) else {}


def _lines(path: Path, cls: type[Any]) -> tuple[Any, ...]:
    return tuple(store.read_lines(path, cls)) if path.exists() else ()


def _listed(cls: type[Any], path: Path) -> tuple[Any, ...]:
    return _parsed(cls, store.read_json(path), where=path) if path.exists() else ()


def _parsed(cls: type[Any], rows: Any, *, where: Path) -> tuple[Any, ...]:
    return tuple(store.parse_row(cls, row, where=f"{where}[{number}]") for number, row in enumerate(rows or ()))
