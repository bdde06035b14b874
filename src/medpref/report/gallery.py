"""The pair gallery's data: both views with regions, both replies cut at their spans, weight, writers, provenance.

Replies are cut into pieces here, because a span counts characters and a browser counts UTF-16 units.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from medpref.progress import track
from medpref.report.budget import fit, spread_over
from medpref.report.outline import outline
from medpref.report.provenance import corrupted_of, facts, regions_of
from medpref.report.thumbnail import Thumbnails
from medpref.report.values import Run
from medpref.schema import CLEAN, PreferencePair, Region, Reply

Entry = dict[str, Any]
_outline = functools.lru_cache(maxsize=20_000)(outline)


def gallery(run: Run, thumbnails: Thumbnails, *, budget: int) -> dict[str, Any]:
    """Entries of all pair sets, as many as fit; ``total`` counts all pairs, ``paths`` holds each outline once."""
    paths: dict[str, int] = {}
    pairs = [(held.name, pair) for held in run.pair_sets for pair in held.pairs]
    chosen = fit(pairs, lambda item: pair_entry(run, item[1], name=item[0], paths=paths), budget=budget)
    for (_, pair), entry in track(spread_over(chosen), "pictures of pairs", total=len(chosen)):
        entry["views"] = {
            name: _pictures(pair, name, thumbnails=thumbnails) for name in sorted(pair.views, key=_clean_first)
        }
    entries = sorted((entry for _, entry in chosen), key=lambda entry: not is_pictured(entry))
    return {
        "entries": entries,
        "pictured": sum(map(is_pictured, entries)),
        "paths": list(paths),
        "sets": [held.name for held in run.pair_sets],
        "total": len(pairs),
    }


def pair_entry(run: Run, pair: PreferencePair, *, name: str, paths: dict[str, int]) -> Entry:
    """One pair of the set ``name`` as JSON-able data, without its pictures; outlines are added to ``paths``."""
    regions = regions_of(pair, run.dataset.examples.get(pair.example))
    return {
        "id": pair.id,
        "set": name,
        "kind": pair.kind or "open",
        "question": pair.question,
        "weight": round(pair.weight, 4),
        "replies": {who: [reply.author, pieces(reply)] for who, reply in pair.replies.items()},
        "regions": region_entries(regions, paths),
        "hidden": region_entries(corrupted_of(pair, regions), paths),
        "facts": facts(pair),
    }


def region_entries(regions: Sequence[Region], paths: dict[str, int]) -> list[list[Any]]:
    """``[label, number of the outline in paths, index of the image]`` of each region."""
    return [[held.label, paths.setdefault(_outline(held), len(paths)), held.image] for held in regions]


def is_pictured(entry: Entry) -> bool:
    """Whether every view of an entry has its pictures on the page."""
    return all(picture for pictures in entry["views"].values() for picture in pictures)


def pieces(reply: Reply) -> list[list[Any]]:
    """A reply's text as ``[text, 1 inside a span, else 0]`` pieces that join to the text.

    >>> from medpref.schema import Span
    >>> pieces(Reply(text="left lung", spans=(Span(start=0, end=4),)))
    [['left', 1], [' lung', 0]]
    """
    inside = bytearray(len(reply.text))
    for span in reply.spans:
        inside[span.start : span.end] = b"\1" * (span.end - span.start)
    cuts = [0, *(at for at in range(1, len(inside)) if inside[at] != inside[at - 1]), len(inside)]
    return [[reply.text[start:end], inside[start]] for start, end in pairwise(cuts)]


def _clean_first(view: str) -> tuple[bool, str]:
    return view != CLEAN, view


def _pictures(pair: PreferencePair, view: str, *, thumbnails: Thumbnails) -> list[list[Any]]:
    clean = pair.views[CLEAN]
    comparable = view != CLEAN and len(clean) == len(pair.views[view])
    return [thumbnails.view(clean[index] if comparable else None, ref) for index, ref in enumerate(pair.views[view])]
