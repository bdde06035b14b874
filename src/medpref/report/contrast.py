"""Paired differences in words. An interval that includes zero is a tie, as is one that Holm's correction takes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup

from medpref.report.figure import Interval, strip
from medpref.report.values import Comparison, Run, is_control
from medpref.report.words import HEADLINE, Words, headline, is_headline, metric_words, model_label, number, p_value

Outcome = Literal["tied", "better", "worse", "higher", "lower", "not judged"]
ALPHA = 0.05
SYMBOLS = {"better": "▲", "worse": "▼", "higher": "▲", "lower": "▼", "tied": "=", "not judged": "–"}


class Difference(NamedTuple):
    """One paired difference; ``figure`` is its strip on the scale of its table, None for metrics of other units."""

    words: Words
    held: Comparison
    outcome: Outcome
    note: str
    figure: Markup | None = None

    @property
    def shown(self) -> str:
        return number(self.held.difference, percent=self.words.percent, signed=True)

    @property
    def interval(self) -> str:
        low, high = (number(end, percent=self.words.percent, signed=True) for end in (self.held.low, self.held.high))
        return f"{low} to {high}"

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.outcome]

    @property
    def p(self) -> str:
        return p_value(self.held.p)

    @property
    def p_holm(self) -> str:
        return p_value(self.held.p_holm)


class Contrast(NamedTuple):
    """The differences between two models: the main ones, the shortcut's slices, further metrics, further slices.

    Slices carry the headline metrics only; ``summary.json`` has all of them.
    """

    a: str
    b: str
    overall: tuple[Difference, ...]
    shortcut: tuple[Difference, ...]
    further: tuple[Difference, ...]
    slices: tuple[Difference, ...]

    @property
    def title(self) -> str:
        return f"{model_label(self.a)} minus {model_label(self.b)}"

    @property
    def tally(self) -> str:
        return tally(self.overall)

    @property
    def against_control(self) -> bool:
        return is_control(self.b) and not is_control(self.a)


def tally(rows: Sequence[Difference]) -> str:
    """How many differences go which way.

    >>> tally([])
    'nothing to compare'
    """
    counts = Counter[str](row.outcome for row in rows)
    return ", ".join(f"{counts[name]} {name}" for name in SYMBOLS if counts[name]) or "nothing to compare"


class Matrix(NamedTuple):
    """Contrasts as rows, their first differences as columns; None where a contrast lacks one."""

    heads: tuple[Words, ...]
    rows: tuple[tuple[Contrast, tuple[Difference | None, ...]], ...]


def contrasts(run: Run) -> list[Contrast]:
    """Paired differences by couple of models: against a matched control first, then against SFT, then the rest."""
    couples: dict[tuple[str, str], list[Comparison]] = {}
    for held in run.comparisons:
        couples.setdefault((held.a, held.b), []).append(held)
    place = {model.name: index for index, model in enumerate(run.models)}
    found = (_contrast(couple, rows) for couple, rows in couples.items())
    return sorted(found, key=lambda held: (_importance(held), place.get(held.a, len(place)), held.a, held.b))


def headlines(contrast: Contrast, limit: int = 4) -> list[Difference]:
    """The differences that a reader wants first."""
    by_name = {row.held.metric: row for row in (*contrast.overall, *contrast.shortcut)}
    return [by_name[name] for name in headline(list(by_name), limit)]


def matrix(found: Sequence[Contrast]) -> Matrix:
    """The headlines of many contrasts side by side."""
    held = [(one, {row.held.metric: row for row in headlines(one)}) for one in found]
    names = headline(list(dict.fromkeys(name for _, rows in held for name in rows)), limit=len(HEADLINE))
    rows = tuple((one, tuple(rows.get(name) for name in names)) for one, rows in held)
    return Matrix(tuple(metric_words(name) for name in names), rows)


def outcome(held: Comparison, words: Words) -> Outcome:
    """``tied`` where the 95 % interval includes zero or Holm's p is not below 0.05, else which way it goes."""
    if held.difference is None or held.low is None or held.high is None:
        return "not judged"
    if held.low <= 0 <= held.high or (held.p_holm is not None and held.p_holm >= ALPHA):
        return "tied"
    up = held.difference > 0
    if words.better == "neither":
        return "higher" if up else "lower"
    return "better" if up == (words.better == "higher") else "worse"


def _contrast(couple: tuple[str, str], rows: Sequence[Comparison]) -> Contrast:
    names = [row.metric.partition("@")[0] for row in rows]
    first = {name: place for place, name in enumerate(headline(names, limit=len(names)))}
    ordered = sorted(rows, key=lambda row: first.get(row.metric.partition("@")[0], len(first)))
    plain = [row for row in ordered if "@" not in row.metric]
    overall = [row for row in plain if is_headline(row.metric)] or plain
    further = [row for row in plain if row not in overall]
    parts = sorted((row for row in ordered if "@" in row.metric and is_headline(row.metric)), key=_part_of)
    shortcut = [row for row in parts if "@shortcut=" in row.metric]
    slices = [row for row in parts if row not in shortcut]
    return Contrast(*couple, *(_drawn(part) for part in (overall, shortcut, further, slices)))


def _part_of(held: Comparison) -> str:
    return held.metric.partition("@")[2]


def _drawn(rows: Sequence[Comparison]) -> tuple[Difference, ...]:
    """The rows with strips; shares lie on one symmetric scale, so that their lengths can be compared."""
    ends = [
        abs(end) for row in rows if metric_words(row.metric).percent for end in (row.low, row.high) if end is not None
    ]
    reach = max(ends, default=0.0) * 1.05 or 1.0
    return tuple(_difference(row, reach) for row in rows)


def _difference(held: Comparison, reach: float) -> Difference:
    words = metric_words(held.metric)
    reached = outcome(held, words)
    taken_back = reached == "tied" and held.low is not None and held.high is not None and not held.low <= 0 <= held.high
    note = "interval excludes zero, not after Holm" if taken_back else ""
    figure = None
    if words.percent and held.difference is not None and held.low is not None and held.high is not None:
        colour = {"better": 1, "worse": 2}.get(reached, 0)
        figure = strip(Interval(words.label, held.difference, held.low, held.high, colour), (-reach, reach))
    return Difference(words, held, reached, note, figure)


def _importance(contrast: Contrast) -> int:
    if contrast.against_control:
        return 0
    if is_control(contrast.a) or contrast.a == "sft":
        return 3
    return 1 if contrast.b == "sft" else 2
