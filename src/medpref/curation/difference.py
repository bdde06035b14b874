"""What differs between two images, by rule from one finding's facts: the answer to a comparison, and a flipped fact.

Knows: degrees and counts in words. Does not know: time; ``better`` and ``worse`` are asked where a source has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medpref.curation.draft import Rng
from medpref.language.answers import normalise
from medpref.language.findings import mentions
from medpref.schema import Fact

OVER_TIME = ("better", "unchanged", "worse")
BETWEEN = ("less", "the same", "more")
_DEGREES = {"mild": 1, "small": 1, "moderate": 2, "medium": 2, "severe": 3, "large": 3}
_SIGNS = {normalise(word): sign for words in (OVER_TIME, BETWEEN) for sign, word in enumerate(words, start=-1)}

Two = tuple[Fact, Fact]


def difference(first: Fact, second: Fact) -> int | None:
    """1 where the second image shows more of the finding, 0 as much, -1 less; None where the facts do not tell.

    By presence, else by degree, else (no degree on either) by count.

    >>> small, large = (Fact(finding="effusion", severity=word) for word in ("small", "large"))
    >>> difference(small, large), difference(large, Fact(finding="effusion", present=False))
    (1, -1)
    """
    if not (first.present and second.present):
        return int(second.present) - int(first.present)
    grades = degree(first), degree(second)
    before, after = (first.count, second.count) if grades == (None, None) else grades
    if before is None or after is None:
        return None
    return (after > before) - (after < before)


def degree(fact: Fact) -> int | None:
    """1 (mild, small), 2 or 3 (severe, large); None where no known degree is said."""
    read = mentions(fact.severity, ("severity", "size")) if fact.severity else ()
    return _DEGREES.get(read[0].concept.name) if len(read) == 1 else None


def sign_of(answer: str) -> int | None:
    """The difference that an answer names, or None.

    >>> sign_of("Worse"), sign_of("The same"), sign_of("left")
    (1, 0, None)
    """
    return _SIGNS.get(normalise(answer))


def turned(facts: Two, wanted: int, *, known: Sequence[Fact], absent: Fact, rng: Rng) -> Two | None:
    """The two facts with one of them changed so that they differ by ``wanted``; None where one change is not enough.

    A degree or a count is exchanged for another one that some example has (``known``), a finding is taken away
    (``absent``), or is given as some example has it.
    """
    first, second = facts
    options = [(first, other) for other in _others(second, known, absent)]
    options += [(other, second) for other in _others(first, known, absent)]
    fitting = [option for option in options if difference(*option) == wanted]
    return fitting[int(rng.integers(len(fitting)))] if fitting else None


def _others(fact: Fact, known: Sequence[Fact], absent: Fact) -> Iterator[Fact]:
    if not fact.present:
        yield from (one.model_copy(update={"image": fact.image}) for one in known)
        return
    yield absent.model_copy(update={"image": fact.image})
    for degree_said in sorted({one.severity for one in known if one.severity} - {fact.severity}):
        if fact.severity:
            yield fact.model_copy(update={"severity": degree_said})
    for count in sorted({one.count for one in known if one.count} - {fact.count}):
        if fact.count and not fact.severity and not (count == 1 and fact.side == "both"):
            yield fact.model_copy(update={"count": count})
