"""The last steps, over all pairs at once: duplicates, screens, weights on a common scale, files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref import store
from medpref.curation.builder import Builder
from medpref.curation.card import leaks, write_card
from medpref.curation.screens import Around
from medpref.curation.sound import fault
from medpref.schema import CLEAN, CORRUPT, Example, OwnReply, PreferencePair

log = logging.getLogger(__name__)
Row = dict[str, Any]
NOTHING: Mapping[str, Any] = {}


def finish(
    out: Path,
    key: str,
    rows: Sequence[Row],
    builders: Sequence[Builder],
    *,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    sampled: Sequence[OwnReply] = (),
    evidence: Mapping[str, Any] = NOTHING,
) -> dict[str, float]:
    """Screen and reweigh the pairs among the rows, write the files (the card last: it says that all is there); counts.

    Weights are put on a common scale within each builder, after its screens. ``evidence`` is what its check found.
    """
    groups: dict[str, list[PreferencePair]] = {}
    for row in rows:
        if "pair" in row:
            groups.setdefault(row["builder"], []).append(PreferencePair.model_validate(row["pair"]))
    dropped = [row["dropped"] for row in rows if "dropped" in row]
    kept: list[PreferencePair] = []
    by_name = {builder.name: builder for builder in builders}
    judge = Screening(by_name, examples, held_out)
    for name, pairs in groups.items():
        passing, failing = judge.split(name, pairs)
        dropped += failing
        kept += reweighed(passing, by_name.get(name))
    found = leaks(kept, held_out)
    if found["by_patient"] or found["by_image"]:
        log.warning("leak: %(by_patient)d pairs share a patient, %(by_image)d an image with another split", found)
    if sampled:
        store.write_lines(out / "replies.jsonl", sampled)
    store.write_lines(out / "pairs.jsonl", kept)
    store.write_lines(out / "dropped.jsonl", dropped)
    counts = _counts(kept, dropped, groups) | _seen(evidence)
    write_card(out, key, counts, kept, dropped, examples=examples, held_out=held_out, evidence=evidence)
    return counts


def _counts(kept: Sequence[PreferencePair], dropped: Sequence[Any], names: Iterable[str]) -> dict[str, float]:
    """Pairs in all and of each builder, those with a corrupt view, and what was dropped."""
    views = sum(CORRUPT in pair.views for pair in kept)
    of = Counter(pair.provenance.get("builder") for pair in kept)
    counts = {"pairs": len(kept), "dropped": len(dropped), "corrupt_views": views}
    return {**counts, **{f"pairs/{name}": of[name] for name in names}}


def _seen(evidence: Mapping[str, Any]) -> dict[str, float]:
    """How many corrupt views the evidence check asked about, and the share that it kept."""
    asked = sum(one["asked"] for one in evidence.values())
    kept = sum(one["kept"] for one in evidence.values())
    return {"evidence_asked": asked, "evidence_share": round(kept / asked, 4)} if asked else {}


class Screening:
    """Which pairs stay; remembers those seen, across builders."""

    def __init__(
        self, builders: Mapping[str, Builder], examples: Sequence[Example], held_out: Sequence[Example]
    ) -> None:
        self.builders = builders
        self.examples = {example.id: example for example in examples}
        self.patients = frozenset(example.patient for example in held_out)
        self.images = frozenset(ref.sha256 for example in held_out for ref in example.images)
        self.seen: set[str] = set()

    def split(self, name: str, pairs: Sequence[PreferencePair]) -> tuple[list[PreferencePair], list[dict[str, str]]]:
        """The pairs of one builder that stay, and rows for ``dropped.jsonl`` of those that do not."""
        kept, dropped = [], []
        for pair in pairs:
            reason = self._reason(pair, self.builders.get(name))
            if reason is None:
                kept.append(pair)
            else:
                dropped.append({"example": pair.example, "builder": name, "step": reason[0], "reason": reason[1]})
        return kept, dropped

    def _reason(self, pair: PreferencePair, builder: Builder | None) -> tuple[str, str] | None:
        key = fingerprint(pair)
        if key in self.seen:
            return "duplicate", "the same question, images and replies as an earlier pair"
        around = Around(self.examples.get(pair.example), self.patients, self.images)
        wrong = fault(pair, around.example)
        if wrong is not None:
            return "fault", wrong
        for screen in builder.screens if builder else ():
            reason = screen.reject(pair, around)
            if reason:
                return f"screen {screen.kind}", reason
        self.seen.add(key)
        return None


def fingerprint(pair: PreferencePair) -> str:
    """What makes two pairs the same: question, clean images, the texts by name, and which views there are."""
    texts = sorted((name, reply.text) for name, reply in pair.replies.items())
    return store.digest([pair.question, [ref.sha256 for ref in pair.views[CLEAN]], texts, sorted(pair.views)])


def reweighed(pairs: Sequence[PreferencePair], builder: Builder | None) -> list[PreferencePair]:
    """The pairs with their weights on a common scale; the judge's own weight stays in the provenance."""
    if builder is None or builder.reweigh is None:
        return list(pairs)
    weights = builder.reweigh.reweigh([pair.weight for pair in pairs])
    return [
        pair.model_copy(update={"weight": weight, "provenance": {**pair.provenance, "raw_weight": pair.weight}})
        for pair, weight in zip(pairs, weights, strict=True)
    ]
