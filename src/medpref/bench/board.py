"""Finished cells in, the leaderboard out: levels, paired differences with Holm's correction, places that ties allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import medpref
from medpref import store
from medpref.bench.effect import REVISION, Effect, Held, difference, level
from medpref.bench.rank import ranks
from medpref.bench.read import fingerprint, metric_of, patient_marks, read_arm, summary_of
from medpref.bench.values import OPPONENTS, Board, CellDone, Level, Outcome, Pairing, Role, Row, Table, Versus
from medpref.evaluation.interval import holm
from medpref.grid import Grid
from medpref.progress import track
from medpref.report.contrast import outcome
from medpref.report.values import Comparison
from medpref.report.words import headline, metric_words

MOST_METRICS = 8
DECIDED = ("better", "worse")
ROLES: Mapping[str, Role] = {"base": "base", "sft": "sft", "control": "control", "recipe": "method"}
BySeed = Mapping[int, Held]


@dataclass
class Arms:
    """What the cells of one table hold: per arm its role and features by metric and seed, and its control a seed."""

    summaries: Mapping[int, Mapping[str, Any]]
    metrics: tuple[str, ...]
    roles: dict[str, Role] = field(default_factory=dict)
    controls: dict[str, dict[int, str]] = field(default_factory=dict)
    held: dict[str, dict[str, dict[int, Held]]] = field(default_factory=dict)

    def of(self, name: str, metric: str) -> BySeed:
        """One arm's features by seed."""
        return self.held.get(name, {}).get(metric, {})

    def opponent(self, name: str, role: str, metric: str) -> BySeed:
        """The features of an arm's opponent: at each seed its own control, or the SFT model, or the base."""
        if role != "control":
            return self.of(role, metric)
        controls = self.controls.get(name, {})
        return {
            seed: self.of(other, metric)[seed] for seed, other in controls.items() if seed in self.of(other, metric)
        }


class Asked(NamedTuple):
    """One difference to be computed: its key, its metric, and both sides by seed."""

    key: tuple[str, ...]
    metric: str
    a: BySeed
    b: BySeed


def board_of(grid: Grid, out: Path, cells: Sequence[CellDone]) -> Board:
    """The leaderboard of the cells that finished, and what became of the others."""
    found = []
    for policy in grid.policies:
        for source in grid.sources:
            mine = {c.seed: out / c.folder for c in cells if (c.policy, c.source, c.error) == (policy, source, "")}
            if mine:
                found.append(table_of(grid, mine, policy=policy, source=source))
    return Board(
        name=grid.name,
        summary=grid.summary,
        medpref=medpref.__version__,
        inputs=inputs_of(grid, out, cells),
        seeds=grid.seeds,
        tables=tuple(found),
        cells=tuple(cells),
    )


def inputs_of(grid: Grid, out: Path, cells: Sequence[CellDone]) -> str:
    """A hash of all that goes into a leaderboard: the grid, the versions, every cell's evaluations and failures."""
    held = [[cell.title, cell.error, dict(cell.failures), fingerprint(out / cell.folder)] for cell in cells]
    return store.digest([grid.model_dump(mode="json"), medpref.__version__, REVISION, held])


def table_of(grid: Grid, folders: Mapping[int, Path], *, policy: str, source: str) -> Table:
    """All rows of one policy on one source, from the folder of each finished seed."""
    arms = read_arms(folders)
    order = [method.name for method in grid.methods]
    place = {name: index for index, name in enumerate(order)}
    roles = list(ROLES.values())
    names = sorted(arms.roles, key=lambda name: (roles.index(arms.roles[name]), place.get(name, -1)))
    methods = [name for name in names if arms.roles[name] == "method"]
    pairings = tuple(_pairings(arms, methods))
    against = _against(arms, names)
    places = {metric: _places(methods, metric, pairings) for metric in arms.metrics}
    asked = {method.name: method for method in grid.methods}
    rows = tuple(
        Row(
            name=name,
            role=arms.roles[name],
            recipe=asked[name].recipe if name in asked else "",
            control=next(iter(arms.controls.get(name, {}).values()), None),
            axes=asked[name].axes if name in asked else {},
            levels=_levels(arms, name, places),
            against={opponent: held for opponent in OPPONENTS if (held := against.get((name, opponent)))},
        )
        for name in names
    )
    synthetic = any(bool(summary["synthetic"]) for summary in arms.summaries.values())
    seeds = tuple(sorted(folders))
    return Table(
        policy=policy,
        source=source,
        synthetic=synthetic,
        seeds=seeds,
        metrics=arms.metrics,
        rows=rows,
        pairings=pairings,
    )


def read_arms(folders: Mapping[int, Path]) -> Arms:
    """Everything the table needs, from the summaries and verdicts of its cells."""
    summaries = {seed: summary for seed, folder in folders.items() if (summary := summary_of(folder)) is not None}
    known = dict.fromkeys(
        metric for summary in summaries.values() for model in summary["models"].values() for metric in model
    )
    arms = Arms(summaries, tuple(headline(list(known), limit=MOST_METRICS)))
    for seed, summary in summaries.items():
        marks = patient_marks(folders[seed])
        for arm in summary["arms"]:
            name = str(arm["name"])
            arms.roles[name] = ROLES[arm["role"]]
            if arm["control"]:
                arms.controls.setdefault(name, {})[seed] = str(arm["control"])
            for metric, held in read_arm(folders[seed], name, arms.metrics, marks=marks).items():
                arms.held.setdefault(name, {}).setdefault(metric, {})[seed] = held
    return arms


def _levels(arms: Arms, name: str, places: Mapping[str, Mapping[str, tuple[int, int]]]) -> dict[str, Level]:
    found = {}
    for key in arms.metrics:
        metric = metric_of(key)
        effect = level(arms.of(name, key), metric.combine, bounds=metric.bounds, name=key)
        if effect is not None:
            fields = {field: value for field, value in effect._asdict().items() if field != "p"}
            found[key] = Level(**fields, rank=places[key].get(name))
    return found


def _against(arms: Arms, names: Sequence[str]) -> dict[tuple[str, str], dict[str, Versus]]:
    """Each arm minus each opponent, by (arm, opponent) and metric; Holm's family: one role, opponent and metric."""
    found: dict[tuple[str, str], dict[str, Versus]] = {}
    for role, opponents in (("method", OPPONENTS), ("control", ("sft", "base")), ("sft", ("base",))):
        mine = [name for name in names if arms.roles[name] == role]
        for opponent in opponents:
            for metric in track(arms.metrics, f"{role} - {opponent}"):
                asked = [
                    Asked((name,), metric, arms.of(name, metric), arms.opponent(name, opponent, metric))
                    for name in mine
                ]
                for (name,), versus in _family(asked):
                    found.setdefault((name, opponent), {})[metric] = versus
    return found


def _pairings(arms: Arms, methods: Sequence[str]) -> Iterator[Pairing]:
    """Every two methods on every metric; Holm's family: all couples on one metric. Order of methods changes nothing."""
    couples = list(combinations(sorted(methods), 2))
    for metric in track(arms.metrics, "methods with each other"):
        asked = [Asked(couple, metric, *(arms.of(name, metric) for name in couple)) for couple in couples]
        for (a, b), versus in _family(asked):
            yield Pairing(a=a, b=b, metric=metric, versus=versus)


def _family(asked: Sequence[Asked]) -> Iterator[tuple[tuple[str, ...], Versus]]:
    """The differences of one family, in their order; those that are undefined are left out."""
    effects = [
        (one, effect)
        for one in asked
        if (effect := difference(one.a, one.b, metric_of(one.metric).combine, name=one.metric)) is not None
    ]
    for (one, effect), p_holm in zip(effects, holm([effect.p for _, effect in effects]), strict=True):
        yield one.key, versus_of(effect, p_holm, metric=one.metric)


def versus_of(effect: Effect, p_holm: float, *, metric: str) -> Versus:
    """A difference with what may be said of it: tied where its interval holds zero or Holm takes it back."""
    held = Comparison(
        a="", b="", metric=metric, difference=effect.value, low=effect.low, high=effect.high, p_holm=p_holm
    )
    said: Outcome = outcome(held, metric_words(metric))
    fields = {key: value for key, value in effect._asdict().items() if key not in {"value", "by_seed"}}
    return Versus(difference=effect.value, p_holm=p_holm, outcome=said, **fields)


def _places(methods: Sequence[str], metric: str, pairings: Sequence[Pairing]) -> dict[str, tuple[int, int]]:
    """The range of places of each method; a metric without a better side ranks nobody."""
    if metric_words(metric).better == "neither":
        return {}
    beats = {_winner_first(held) for held in pairings if held.metric == metric and held.versus.outcome in DECIDED}
    return ranks(methods, beats)


def _winner_first(held: Pairing) -> tuple[str, str]:
    return (held.a, held.b) if held.versus.outcome == "better" else (held.b, held.a)
