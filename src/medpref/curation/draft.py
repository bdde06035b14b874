"""What a writer hands over: replies with notes, or a reason why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from medpref.models.chat import NOBODY, Roles
from medpref.schema import Example, Fact, OwnReply, Reply
from medpref.seeds import generator

Rng = np.random.Generator


class Draft(NamedTuple):
    """Replies by name (usually the one asked for) and JSON-able notes for the pair's provenance."""

    replies: Mapping[str, Reply]
    notes: Mapping[str, Any] = {}


class Refused(NamedTuple):
    """No reply, and why; the reason goes into ``dropped.jsonl``."""

    reason: str


@dataclass(frozen=True)
class Context:
    """What writers and miners may read besides the example; `pool.gather` fills it.

    own: the policy's greedy replies by example; samples: sampled ones, by sampling plan and example.
    donors: the distinct answers, and frequency: how often each (normal form) is given, by `pool.donor_key`.
    vocabulary: the words of all answers. facts: the distinct present facts by finding. sentences: those of all
    reports by finding. near: the nearest other examples of each example with their distances.
    root: the run folder. held_patients: patients of other splits. policy_hash: of the policy that the
    replies are from. roles: the language models bound for writers with ``by: chat``.
    """

    seed: int
    builder: str = ""
    own: Mapping[str, OwnReply] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    donors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vocabulary: frozenset[str] = frozenset()
    frequency: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    facts: Mapping[str, tuple[Fact, ...]] = field(default_factory=dict)
    sentences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    near: Mapping[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    examples: Mapping[str, Example] = field(default_factory=dict)
    root: Path = Path()
    held_patients: frozenset[str] = frozenset()
    policy_hash: str = ""
    roles: Roles = NOBODY

    def rng(self, purpose: str, example: Example) -> Rng:
        """A generator for one purpose and example, whatever the order of work."""
        return generator(self.seed, "curation", purpose, self.builder, example.id)


class Writer(Protocol):
    """Writes one reply of a pair (or both). Pure in (example, context, other)."""

    kind: str
    both: ClassVar[bool]

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused: ...
