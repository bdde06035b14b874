"""What is known of single images, from all the train questions about each: facts by finding, and regions by label.

Facts are the source's own, and what reports and plain yes/no questions deny; of an image without facts of its own also
what they assert. Nothing is concluded from silence: a finding of which nobody speaks is neither present nor absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from medpref.curation.pool import concept_of
from medpref.language.answers import is_yes_no, normalise
from medpref.language.findings import mentions, statements
from medpref.schema import Example, Fact, ImageRef, Region

SORTS = ("modality", "plane", "view", "organ", "location", "body_part")
_PLAIN = frozenset({"finding", "device", "modality", "plane"})


@dataclass(frozen=True)
class Seen:
    """One image: facts by finding (all present, or all absent) and regions by finding, in the lexicon's names.

    ``first`` is the first example that shows it. ``torn`` are findings said both to be present and to be absent.
    """

    ref: ImageRef
    first: Example
    facts: Mapping[str, tuple[Fact, ...]]
    regions: Mapping[str, tuple[Region, ...]]
    torn: frozenset[str] = frozenset()
    credentialed: bool = False

    @property
    def sort(self) -> Mapping[str, str]:
        """The tags that say what kind of image it is."""
        return {key: self.first.tags[key] for key in SORTS if key in self.first.tags}

    def holds(self, finding: str) -> bool | None:
        """Whether a finding is present; None where that is not known."""
        facts = self.facts.get(finding, ())
        return facts[0].present if facts else None

    def all_facts(self, image: int | None = None) -> tuple[Fact, ...]:
        """Every fact, said of the image of this index."""
        return tuple(fact.model_copy(update={"image": image}) for facts in self.facts.values() for fact in facts)


def seen_of(examples: Iterable[Example]) -> list[Seen]:
    """Every image that questions show alone and unmarked, in the order in which they come."""
    groups: dict[str, list[Example]] = {}
    for example in examples:
        if len(example.images) == 1 and example.kind != "region":
            groups.setdefault(example.images[0].sha256, []).append(example)
    return [_seen(group) for group in groups.values()]


def _seen(group: Sequence[Example]) -> Seen:
    regions: dict[str, dict[Region, None]] = {}
    for region in (region for example in group for region in example.regions):
        regions.setdefault(concept_of(region.label), {})[region] = None
    facts, torn = known_facts(group)
    return Seen(
        ref=group[0].images[0],
        first=group[0],
        facts=facts,
        regions={name: tuple(held) for name, held in regions.items()},
        torn=torn,
        credentialed=any(example.credentialed for example in group),
    )


def known_facts(group: Iterable[Example]) -> tuple[dict[str, tuple[Fact, ...]], frozenset[str]]:
    """The facts of one image by finding; and the findings that are said both to be present and to be absent.

    Of several facts those that another one contains are left out. Where a source names what is present, a word for it
    in a report (a catheter for a device) is no further finding.
    """
    examples = list(group)
    stated = [fact for example in examples for fact in example.facts]
    told: dict[str, list[Fact]] = {}
    for fact in (*stated, *(fact for example in examples for fact in read(example))):
        told.setdefault(concept_of(fact.finding), []).append(fact)
    torn = frozenset(name for name, facts in told.items() if len({fact.present for fact in facts}) > 1)
    own = set(stated)
    found = {}
    for name, facts in told.items():
        best = [fact for fact in facts if fact in own] or [fact for fact in facts if not (own and fact.present)]
        found[name] = tuple(fact for fact in dict.fromkeys(best) if not any(_within(fact, other) for other in best))
    return {name: facts for name, facts in found.items() if facts and name not in torn}, torn


def read(example: Example) -> Iterator[Fact]:
    """The facts that a report states, or that the answer to a plain question about one finding gives."""
    if example.answer_type == "report":
        yield from _reported(example.answer)
    elif example.kind == "presence" and is_yes_no([example.answer]):
        named = mentions(example.question)
        asked = [one for one in named if one.concept.type in ("finding", "device")]
        if len(asked) == 1 and asked[0].polarity == "present" and {one.concept.type for one in named} <= _PLAIN:
            yield Fact(finding=asked[0].concept.name, present=normalise(example.answer) == "yes")


def _reported(text: str) -> Iterator[Fact]:
    for one in statements(text):
        said = one.attributes
        if one.polarity == "absent" and not said:
            yield Fact(finding=one.finding, present=False)
        elif one.polarity == "present":
            grade = said.get("severity", said.get("size"))
            yield Fact(finding=one.finding, side=said.get("side"), zone=said.get("zone"), severity=grade)


def _within(fact: Fact, other: Fact) -> bool:
    """Whether another fact says all that this one does, and more."""
    ours, theirs = ({key: v for key, v in one.model_dump().items() if v is not None} for one in (fact, other))
    return ours != theirs and ours.items() <= theirs.items()
