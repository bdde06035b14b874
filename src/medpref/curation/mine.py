"""Which examples deserve a pair: by the policy's confidence, and in balance. Every pick says why it was picked.

Knows: the greedy replies' token log-probabilities. Does not know: which tokens of a long reply hold the answer; it
takes all of them, or the first ``tokens``. Nothing is mined from another split: the caller passes train examples only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from medpref.curation.draft import Context
from medpref.judging.agreement import Agreement
from medpref.language.answers import is_yes_no, normalise
from medpref.registry import MINERS
from medpref.schema import Example, Frozen, OwnReply
from medpref.seeds import derive_seed

Measure = Literal["geometric", "minimum", "first"]
CONFIDENT_WRONG, MIDDLING_WRONG, UNSURE_RIGHT, UNSURE_WRONG = (
    "confident wrong", "middling wrong", "unsure right", "unsure wrong",
)  # fmt: skip


class Pick(NamedTuple):
    """An example and why it was picked (JSON-able; stored with the pair)."""

    example: Example
    reason: Mapping[str, Any]


def confidence(reply: OwnReply, measure: Measure = "geometric", tokens: int | None = None) -> float | None:
    """How sure the policy was of its greedy reply, in [0, 1]; None without token log-probabilities.

    Geometric mean or minimum of the token probabilities (the end token aside), or the first token's.
    """
    values = reply.log_probs[:-1] if len(reply.log_probs) > 1 else reply.log_probs
    values = values[:tokens] if tokens else values
    if not values:
        return None
    picked = {"geometric": sum(values) / len(values), "minimum": min(values), "first": values[0]}[measure]
    return float(np.exp(picked))


@MINERS.add
class Confidence(Frozen):
    """Confident errors first (CheXPO, arXiv:2507.06959), then middling ones, with bounded shares of unsure replies.

    Thresholds are quantiles per question kind: ``high`` of the confidence of wrong replies, ``low`` of that of right
    ones. ``unsure_right`` and ``unsure_wrong`` bound the shares of these cells among the picks; an unsure error is as
    often a wrong label. Right replies above ``low`` are not picked.
    """

    kind: Literal["confidence"] = "confidence"
    measure: Measure = "geometric"
    tokens: int | None = Field(default=None, ge=1, description="count only the first tokens of the reply")
    high: float = Field(default=0.7, ge=0, le=1)
    low: float = Field(default=0.3, ge=0, le=1)
    unsure_right: float = Field(default=0.2, ge=0, lt=1)
    unsure_wrong: float = Field(default=0.2, ge=0, lt=1)
    size: int | None = Field(default=None, ge=1)

    def select(self, examples: Sequence[Example], context: Context) -> list[Pick]:
        """The picks, most wanted first."""
        scored = self._scored(examples, context)
        cells: dict[str, list[Pick]] = defaultdict(list)
        for kind in sorted({example.kind for example, _, _ in scored}):
            group = [one for one in scored if one[0].kind == kind]
            tau_high, tau_low = self.thresholds(group)
            for example, sure, right in group:
                cell = cell_of(sure, right, tau_high, tau_low)
                if cell:
                    told = {"cell": cell, "confidence": round(sure, 6), "tau_high": tau_high, "tau_low": tau_low}
                    cells[cell].append(Pick(example, {"miner": self.kind, "measure": self.measure, **told}))
        return self._bounded(cells)

    def _scored(self, examples: Sequence[Example], context: Context) -> list[tuple[Example, float, bool]]:
        found = []
        for example in examples:
            own = context.own.get(example.id)
            sure = confidence(own, self.measure, self.tokens) if own else None
            if own is not None and sure is not None:
                found.append((example, sure, Agreement().judge(example, own.text).value == 1.0))
        return found

    def thresholds(self, group: Sequence[tuple[Example, float, bool]]) -> tuple[float, float]:
        """``(tau_high, tau_low)`` of one question kind; a kind without errors (or hits) takes all its replies."""
        everything = [sure for _, sure, _ in group]
        wrong = [sure for _, sure, right in group if not right] or everything
        right = [sure for _, sure, right in group if right] or everything
        high = float(np.quantile(wrong, self.high))
        return round(high, 6), round(min(high, float(np.quantile(right, self.low))), 6)

    def _bounded(self, cells: Mapping[str, list[Pick]]) -> list[Pick]:
        """Cells in order of priority; the unsure ones at most their share of all picks."""

        def ranked(cell: str, sign: float) -> list[Pick]:
            return sorted(cells.get(cell, ()), key=lambda p: (sign * p.reason["confidence"], p.example.id))

        errors = ranked(CONFIDENT_WRONG, -1) + ranked(MIDDLING_WRONG, -1)
        total = self.size or len(errors) / max(1e-9, 1 - self.unsure_right - self.unsure_wrong)
        right = ranked(UNSURE_RIGHT, 1)[: int(self.unsure_right * total)]
        wrong = ranked(UNSURE_WRONG, -1)[: int(self.unsure_wrong * total)]
        room = None if self.size is None else max(0, self.size - len(right) - len(wrong))
        return (errors[:room] + right + wrong)[: self.size]


def cell_of(sure: float, right: bool, tau_high: float, tau_low: float) -> str | None:
    """The cell of a reply, or None where the policy is right and not unsure."""
    if right:
        return UNSURE_RIGHT if sure < tau_low else None
    if round(sure, 6) >= tau_high:
        return CONFIDENT_WRONG
    return UNSURE_WRONG if sure < tau_low else MIDDLING_WRONG


def stratum(example: Example) -> str:
    """Question kind, answer type and, where the answer is yes or no, its polarity."""
    polarity = f"/{normalise(example.answer)}" if is_yes_no([example.answer]) else ""
    return f"{example.kind}/{example.answer_type}{polarity}"


def quotas(counts: Mapping[str, int], total: int, mix: float) -> dict[str, int]:
    """How many to take of each stratum: T [mix / |C| + (1 - mix) n_c / N], at most n_c, leftovers redistributed.

    ``mix`` 1 is equal shares, 0 is in proportion. The quotas sum to min(T, N).

    >>> quotas({"a": 90, "b": 10}, 20, 1.0), quotas({"a": 90, "b": 10}, 40, 1.0)
    ({'a': 10, 'b': 10}, {'a': 30, 'b': 10})
    """
    everything, taken = sum(counts.values()), dict.fromkeys(counts, 0)
    total = min(total, everything)
    open_strata = [name for name in sorted(counts) if counts[name]]
    wanted = {name: mix / len(open_strata) + (1 - mix) * counts[name] / everything for name in open_strata}
    while open_strata and (left := total - sum(taken.values())):
        shares = sum(wanted[name] for name in open_strata)
        ideal = {name: left * wanted[name] / shares for name in open_strata}
        floors = {name: min(int(ideal[name]), counts[name] - taken[name]) for name in open_strata}
        if not any(floors.values()):
            order = sorted(open_strata, key=lambda name: (-(ideal[name] - int(ideal[name])), name))
            floors = {name: int(name in order[:left]) for name in open_strata}
        for name in open_strata:
            taken[name] += min(floors[name], counts[name] - taken[name])
        open_strata = [name for name in open_strata if taken[name] < counts[name]]
    return taken


@MINERS.add
class Balanced(Frozen):
    """``size`` examples in balance over strata (kind, answer type, polarity); yes and no in equal numbers."""

    kind: Literal["balanced"] = "balanced"
    size: int = Field(ge=1)
    mix: float = Field(default=0.5, ge=0, le=1)

    def select(self, examples: Sequence[Example], context: Context) -> list[Pick]:
        """The picks in the examples' order."""
        groups: dict[str, list[Example]] = defaultdict(list)
        for example in examples:
            groups[stratum(example)].append(example)
        counts = matched({name: len(group) for name, group in groups.items()})
        taken = matched(quotas(counts, self.size, self.mix))
        picked: dict[str, str] = {}
        for name, group in groups.items():
            order = sorted(group, key=lambda one: derive_seed(context.seed, "balanced", context.builder, one.id))
            picked |= {example.id: name for example in order[: taken[name]]}
        told = {name: {"miner": self.kind, "stratum": name, "of": len(group)} for name, group in groups.items()}
        return [Pick(example, told[picked[example.id]]) for example in examples if example.id in picked]


def matched(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts with those of a stratum's yes and no cut to the smaller; a stratum without its opposite keeps none."""
    cut = dict(counts)
    for name in counts:
        base, _, polarity = name.rpartition("/")
        if polarity in ("yes", "no"):
            cut[name] = min(counts.get(f"{base}/yes", 0), counts.get(f"{base}/no", 0))
    return cut
