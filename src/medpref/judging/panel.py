"""Several judges in a chain until they agree: MMedPO's score by consensus (arXiv:2412.06141, section 3.2).

Each member sees the score before its own and adopts or replaces it. Rounds go on until a round's scores lie within
``tolerance`` (the score is then their mean), at most ``rounds`` times; else the score is the mean of the whole history.
A reply that is no number is asked for again ``retries`` times; a member that never gives one counts for nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict

Opinion = Callable[[Example, str, float | None], str]
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w])")


def parse_score(text: str, *, low: float = 0.0, high: float = 1.0) -> float | None:
    """The only number in a text, if it lies within ``[low, high]``; None for none, several, or one outside.

    >>> parse_score("Score: 0.8"), parse_score("between 0.2 and 0.4"), parse_score("nan")
    (0.8, None, None)
    """
    found = {float(number) for number in _NUMBER.findall(text)}
    if len(found) != 1:
        return None
    value = found.pop()
    return value if math.isfinite(value) and low <= value <= high else None


def consult(
    members: Mapping[str, Opinion], example: Example, reply: str, *, rounds: int, tolerance: float, retries: int
) -> Verdict:
    """The panel's verdict, with each round's scores as evidence; None where no member gave a number."""
    history: list[float] = []
    evidence: dict[str, str] = {}
    previous: float | None = None
    for number in range(1, rounds + 1):
        scores: dict[str, float] = {}
        for name, opinion in members.items():
            score = _ask(opinion, example, reply, previous, retries)
            if score is not None:
                scores[name] = previous = score
        evidence[f"round {number}"] = ", ".join(f"{name} {score:.4g}" for name, score in scores.items()) or "no number"
        history += scores.values()
        if not scores:
            return Verdict(None, "not judged: no member gave a number", evidence)
        if max(scores.values()) - min(scores.values()) <= tolerance:
            return Verdict(_mean(list(scores.values())), f"agreed in round {number}", evidence)
    return Verdict(_mean(history), f"no agreement in {rounds} rounds: mean of {len(history)} scores", evidence)


def _ask(opinion: Opinion, example: Example, reply: str, previous: float | None, retries: int) -> float | None:
    for _ in range(retries + 1):
        score = parse_score(opinion(example, reply, previous))
        if score is not None:
            return score
    return None


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores)


@JUDGES.add
class Panel(Frozen):
    """A panel of judges, in their order. A judge without an ``opinion`` repeats its own score, whatever came before."""

    kind: Literal["panel"] = "panel"
    judges: tuple[Mapping[str, Any] | str, ...] = Field(min_length=1)
    rounds: int = Field(default=5, ge=1, le=5)
    tolerance: float = Field(default=0.1, ge=0, le=1)
    retries: int = Field(default=2, ge=0)

    @cached_property
    def members(self) -> Mapping[str, Opinion]:
        """The opinions by name (kind and place)."""
        parsed = [JUDGES.parse(config, where=f"panel.judges[{index}]") for index, config in enumerate(self.judges)]
        return {f"{judge.kind} {index}": _opinion_of(judge) for index, judge in enumerate(parsed, start=1)}

    def judge(self, example: Example, reply: str) -> Verdict:
        return consult(self.members, example, reply, rounds=self.rounds, tolerance=self.tolerance, retries=self.retries)


def _opinion_of(judge: Any) -> Opinion:
    if hasattr(judge, "opinion"):
        opinion: Opinion = judge.opinion
        return opinion

    def steady(example: Example, reply: str, previous: float | None) -> str:
        value = judge.judge(example, reply).value
        return "not judged" if value is None else repr(float(value))

    return steady
