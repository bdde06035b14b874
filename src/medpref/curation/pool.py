"""What the train examples lend each other: answers, words, facts and sentences, gathered once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from medpref.curation.draft import Context
from medpref.language.answers import normalise, tokens
from medpref.language.findings import mentions, polarities, sentences
from medpref.schema import Example, Fact, OwnReply


def donors_of(examples: Mapping[str, Example]) -> dict[str, tuple[str, ...]]:
    """The distinct answers by question kind and modality, sorted."""
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
    """The distinct present facts of all examples by the finding's name in the lexicon, in a fixed order.

    Of which image a fact is said is left out: the pool lends findings, not places.
    """
    found: dict[str, set[Fact]] = {}
    for example in examples.values():
        for fact in example.facts:
            if fact.present:
                lent = fact if fact.image is None else fact.model_copy(update={"image": None})
                found.setdefault(concept_of(fact.finding), set()).add(lent)
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


def gather(
    examples: Sequence[Example],
    own: Mapping[str, OwnReply],
    *,
    seed: int,
    root: Path,
    held_out: Sequence[Example] = (),
) -> Context:
    """The context of a curation over these train examples."""
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
        root=root,
        held_patients=frozenset(example.patient for example in held_out),
    )
