"""What a writer hands over: replies with notes, or a reason why there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from medpref.language.answers import normalise, tokens
from medpref.language.findings import mentions, polarities, sentences
from medpref.schema import Example, Fact, OwnReply, Reply
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
    by question kind; ``vocabulary``: the words of all answers; ``frequency``: how often
    an answer (normal form) stands among those of its kind; ``facts``: the distinct present
    facts by finding; ``sentences``: those of all reports by the findings they speak of; ``near``: the nearest other example of each example, with its distance.
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


def frequency_of(examples: Mapping[str, Example]) -> dict[str, dict[str, int]]:
    """How often each answer (normal form) occurs, by the donor key: a wrong answer is drawn as often as a right one."""
    found: dict[str, Counter[str]] = {}
    for example in examples.values():
        found.setdefault(donor_key(example), Counter())[normalise(example.answer)] += 1
    return {key: dict(counts) for key, counts in sorted(found.items())}


def vocabulary_of(examples: Mapping[str, Example]) -> frozenset[str]:
    """Every word of the answers: a wrong reply in these words cannot be told by its words alone."""
    return frozenset(word for example in examples.values() for word in tokens(example.answer))


def facts_of(examples: Mapping[str, Example]) -> dict[str, tuple[Fact, ...]]:
    """The distinct present facts of all examples by the finding's name in the lexicon, in a fixed order."""
    found: dict[str, set[Fact]] = {}
    for example in examples.values():
        for fact in example.facts:
            if fact.present:
                found.setdefault(concept_of(fact.finding), set()).add(fact)
    return {name: tuple(sorted(facts, key=str)) for name, facts in sorted(found.items())}


def sentences_of(examples: Mapping[str, Example]) -> dict[str, tuple[str, ...]]:
    """The sentences of all reports by each finding they speak of, as often as they occur, sorted."""
    found: dict[str, list[str]] = {}
    for example in examples.values():
        for start, end in sentences(example.answer) if example.answer_type == "report" else ():
            sentence = example.answer[start:end].strip()
            for name in polarities(sentence):
                found.setdefault(name, []).append(sentence)
    return {name: tuple(sorted(group)) for name, group in sorted(found.items())}


def concept_of(finding: str) -> str:
    """The lexicon's name of a finding or device, else the words themselves."""
    read = mentions(finding, ("finding", "device"))
    return read[0].concept.name if read else finding


def gather(examples: Sequence[Example], own: Mapping[str, OwnReply], *, seed: int) -> Context:
    """The context of a curation over these examples."""
    by_id = {example.id: example for example in examples}
    return Context(
        seed,
        own=own,
        donors=donors_of(by_id),
        vocabulary=vocabulary_of(by_id),
        frequency=frequency_of(by_id),
        facts=facts_of(by_id),
        sentences=sentences_of(by_id),
        examples=by_id,
    )
