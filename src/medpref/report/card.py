"""The data card of a pair set: what the pairs show, why examples were dropped, and what ``card.json`` records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from medpref.report.figure import Series, histogram
from medpref.report.values import PairSet
from medpref.report.words import number, sentence
from medpref.schema import CHOSEN, CORRUPT, REJECTED, PreferencePair, Reply

MOST_RECORDED = 120
BINS = 20
TELLING = (
    (r"(^|\.)[a-z_]*auc$", "Style test, AUC", "0.5 is good: wording alone does not tell the rejected reply"),
    (r"^style(_test)?$", "Style test, AUC", "0.5 is good: wording alone does not tell the rejected reply"),
    (r"^mask_share(\.mean)?$", "Mask share", "mean share of the image that is corrupted"),
    (r"^change_inside(\.mean)?$", "Change inside the mask", "mean grey levels"),
    (r"^change_outside(\.mean)?$", "Change outside the mask", "mean grey levels; should be 0"),
    (r"^evidence\.[^.]+\.share$", "Corrupt views with evidence", "they make the chosen reply less likely; others went"),
    (r"^leaks\.by_patient$", "Leaks by patient", "pairs that share a patient with held-out examples; must be 0"),
    (r"^leaks\.by_image$", "Leaks by image", "pairs that share an image with held-out examples; must be 0"),
)
NOT_FOR_READERS = ("inputs", "medpref")


class Card(NamedTuple):
    """One pair set for a reader."""

    name: str
    facts: tuple[tuple[str, str, str], ...]
    kinds: tuple[tuple[str, int], ...]
    authors: tuple[tuple[str, str, int], ...]
    dropped: tuple[tuple[str, int], ...]
    recorded: tuple[tuple[str, str], ...]
    lengths: Markup | None
    legend: tuple[tuple[str, int], ...]
    weights: Markup | None


def card_of(held: PairSet) -> Card:
    """The card; figures are left out where there is nothing to draw."""
    recorded = tuple((name, value) for name, value in _flat(held.card) if name not in NOT_FOR_READERS)
    telling = [
        (label, value, note) for pattern, label, note in TELLING for name, value in recorded
        if re.search(pattern, name) and value[:1].isdigit()
    ]  # fmt: skip
    authors = Counter((name, reply.author or "unnamed") for pair in held.pairs for name, reply in pair.replies.items())
    return Card(
        name=held.name,
        facts=(*_facts(held.pairs), *telling),
        kinds=tuple(Counter(pair.kind or "open" for pair in held.pairs).most_common()),
        authors=tuple((name, author, count) for (name, author), count in sorted(authors.items())),
        dropped=tuple(sorted(held.dropped.items(), key=lambda item: (-item[1], item[0]))),
        recorded=tuple((recorded_label(name), value) for name, value in recorded[:MOST_RECORDED]),
        lengths=_lengths(held.pairs),
        legend=tuple((name, n) for n, name in enumerate((CHOSEN, REJECTED), start=1) if _words(held.pairs, name)),
        weights=_weights(held.pairs),
    )


def _facts(pairs: Sequence[PreferencePair]) -> list[tuple[str, str, str]]:
    if not pairs:
        return [("Pairs", "0", "")]
    words = {name: _words(pairs, name) for name in (CHOSEN, REJECTED)}
    found = [
        ("Pairs", f"{len(pairs):,}", ""),
        ("Examples", f"{len({pair.example for pair in pairs}):,}", ""),
        ("Patients", f"{len({pair.patient for pair in pairs}):,}", ""),
        (
            "With a corrupt view",
            number(sum(CORRUPT in pair.views for pair in pairs) / len(pairs), percent=True) + " %",
            "",
        ),
    ]
    weights = {pair.weight for pair in pairs}
    if len(weights) == 1:
        found.append(("Weight of every pair", f"{weights.pop():g}", ""))
    for name, held in words.items():
        if held:
            found.append((f"Words, {name}", f"{np.mean(held):.1f}", "mean"))
    if words[CHOSEN] and words[REJECTED]:
        gap = float(np.mean(words[CHOSEN]) - np.mean(words[REJECTED]))
        found.append(("Length gap, words", number(gap, signed=True), "chosen minus rejected, mean"))
    marked = [_marked(reply) for pair in pairs for reply in pair.replies.values()]
    found.append(("Text inside spans", number(float(np.mean(marked)), percent=True) + " %", "mean share of characters"))
    return found


def _words(pairs: Sequence[PreferencePair], name: str) -> list[int]:
    return [len(pair.replies[name].text.split()) for pair in pairs if name in pair.replies]


def _marked(reply: Reply) -> float:
    inside = {place for span in reply.spans for place in range(span.start, span.end)}
    return len(inside) / len(reply.text)


def _lengths(pairs: Sequence[PreferencePair]) -> Markup | None:
    words = [(name, _words(pairs, name)) for name in (CHOSEN, REJECTED)]
    edges = _edges([count for _, held in words for count in held], whole=True)
    series = [
        _binned(name, held, edges=edges, colour=index) for index, (name, held) in enumerate(words, start=1) if held
    ]
    return histogram("reply lengths", series, x_label="words") if series else None


def _weights(pairs: Sequence[PreferencePair]) -> Markup | None:
    weights = [pair.weight for pair in pairs]
    if len(set(weights)) < 2:
        return None
    return histogram(
        "pair weights", [_binned("", weights, edges=_edges(weights, whole=False), colour=3)], x_label="weight"
    )


def _edges(values: Sequence[float], *, whole: bool) -> list[float]:
    """At most 20 bins over the values; edges of whole numbers lie half-way between them."""
    if not values:
        return [0.0, 1.0]
    low, high = float(min(values)), float(max(values))
    if whole:
        step = max(1, int(np.ceil((high - low + 1) / BINS)))
        return [low - 0.5 + step * index for index in range(int(np.ceil((high - low + 1) / step)) + 1)]
    return [float(edge) for edge in np.linspace(low, high, BINS + 1)]


def _binned(label: str, values: Sequence[float], *, edges: Sequence[float], colour: int) -> Series:
    counts, _ = np.histogram(values, bins=edges)
    return Series(label, list(edges), counts.tolist(), colour)


def _flat(held: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """``(dotted name, value)`` of every scalar and short list of a nested mapping."""
    for key, value in held.items():
        name = f"{before}.{key}" if before else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(map(_scalar, value)) if len(value) <= 24 else f"{len(value)} values"
        else:
            yield name, _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def recorded_label(name: str) -> str:
    """A dotted name of ``card.json`` for a reader."""
    return sentence(name.replace(".", ": "))
