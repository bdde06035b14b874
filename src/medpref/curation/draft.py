"""What a writer hands over: replies with notes, or a reason why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from medpref.language.answers import tokens
from medpref.schema import Example, OwnReply, Reply
from medpref.seeds import generator

Rng = Any


class Draft(NamedTuple):
    """Replies by name (usually the one asked for) and JSON-able notes for the pair's provenance."""

    replies: Mapping[str, Reply]
    notes: Mapping[str, Any] = {}


class Refused(NamedTuple):
    """No reply, and why; the reason goes into ``dropped.jsonl``."""

    reason: str


@dataclass(frozen=True)
class Context:
    """What writers may read besides the example.

    ``own``: the policy's greedy replies; ``samples``: sampled ones by plan; ``donors``: answers of other train examples
    by question kind; ``vocabulary``: the words of all answers; ``near``: the nearest other example of each example, with its distance.
    """

    seed: int
    builder: str = ""
    own: Mapping[str, OwnReply] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    donors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vocabulary: frozenset[str] = frozenset()
    near: Mapping[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    examples: Mapping[str, Example] = field(default_factory=dict)

    def rng(self, purpose: str, example: Example) -> Rng:
        """A generator for one purpose and example, whatever the order of work."""
        return generator(self.seed, "curation", purpose, self.builder, example.id)


class Writer(Protocol):
    """Writes one reply of a pair (or both). Pure in (example, context, other)."""

    kind: str
    both: ClassVar[bool]

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused: ...


def donors_of(examples: Mapping[str, Example]) -> dict[str, tuple[str, ...]]:
    """The distinct answers by question kind and modality, sorted: a rare answer is as likely a donor as a common one."""
    found: dict[str, set[str]] = {}
    for example in examples.values():
        if example.answer_type != "report":
            found.setdefault(donor_key(example), set()).add(example.answer.strip())
    return {key: tuple(sorted(answers)) for key, answers in sorted(found.items())}


def donor_key(example: Example) -> str:
    """Examples of one key may lend each other their answers."""
    return f"{example.kind}/{example.tags.get('modality', '')}"


def vocabulary_of(examples: Mapping[str, Example]) -> frozenset[str]:
    """Every word of the answers: a wrong reply in these words cannot be told by its words alone."""
    return frozenset(word for example in examples.values() for word in tokens(example.answer))
