"""The card of a set of pairs: what went in, what came out, why the rest did not, and how the two sides differ."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import medpref
from medpref import store
from medpref.curation.style import style_test
from medpref.language.answers import normalise
from medpref.language.diff import edit_share
from medpref.schema import CHOSEN, CORRUPT, REJECTED, Example, PreferencePair

TELLING_AUC = 0.9
log = logging.getLogger(__name__)


def write_card(
    out: Path,
    inputs: str,
    counts: Mapping[str, float],
    pairs: Sequence[PreferencePair],
    dropped: Sequence[Mapping[str, str]],
    *,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    evidence: Mapping[str, Any],
) -> None:
    """Write ``card.json``; ``inputs`` is the digest that tells a finished attempt from another one.

    ``evidence`` is what the evidence check found, by builder; empty where there is none.
    """
    told = summarise(pairs)
    for name, one in told["by_builder"].items():
        if (one["style"] or 0) > TELLING_AUC:
            log.warning(
                "style: %s: chosen and rejected are told apart without the image (AUC %.2f)", name, one["style"]
            )
    store.write_json(
        out / "card.json",
        {
            "inputs": inputs,
            "medpref": medpref.__version__,
            "counts": {**counts},
            "examples": len(examples),
            "dropped": _reasons(dropped),
            "leaks": leaks(pairs, held_out),
            **({"evidence": evidence} if evidence else {}),
            **told,
        },
    )


def summarise(pairs: Sequence[PreferencePair]) -> dict[str, Any]:
    """What the pairs alone say: lengths, edits, weights, balance, masks."""
    both = [pair for pair in pairs if REJECTED in pair.replies]
    return {
        "kinds": _tally(pair.kind or "open" for pair in pairs),
        "polarity": {
            said: sum(normalise(p.replies[CHOSEN].text).split()[:1] == [said] for p in both) for said in ("no", "yes")
        },
        "errors": _tally(str(pair.provenance.get("error", "unnamed")) for pair in both),
        "authors": {
            name: _tally(pair.replies[name].author or "unnamed" for pair in pairs if name in pair.replies)
            for name in (CHOSEN, REJECTED)
        },
        "lengths": lengths(both),
        "edits": {
            "share": spread([edit_share(p.replies[CHOSEN].text, p.replies[REJECTED].text) for p in both]),
            "span_coverage": {name: spread([_covered(p, name) for p in both]) for name in (CHOSEN, REJECTED)},
        },
        "weights": {**spread([pair.weight for pair in pairs]), "histogram": histogram([p.weight for p in pairs])},
        "style_test": style_test(both),
        "by_builder": by_builder(both),
        "mask_share": spread(_changes(pairs, "mask_share")),
        "change_inside": spread(_changes(pairs, "inside")),
        "change_outside": spread(_changes(pairs, "outside")),
    }


def by_builder(pairs: Sequence[PreferencePair]) -> dict[str, dict[str, Any]]:
    """Gap in words and style test of each builder's pairs: many good pairs must not hide some that tell themselves.

    ``style`` and ``style_by_length`` are the AUC of `style.style_test`; None for a builder with too few pairs.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({str(pair.provenance.get("builder", "unnamed")) for pair in pairs}):
        held = [pair for pair in pairs if str(pair.provenance.get("builder", "unnamed")) == name]
        told, said = style_test(held), lengths(held)
        found[name] = {
            "pairs": len(held), "gap_words": said["gap"]["mean"], "rejected_longer": said["rejected_longer"],
            "style": told["auc"], "style_by_length": told["auc_length"],
        }  # fmt: skip
    return found


def lengths(pairs: Sequence[PreferencePair]) -> dict[str, Any]:
    """Words of chosen and rejected, and their absolute gap."""
    words = {name: [len(pair.replies[name].text.split()) for pair in pairs] for name in (CHOSEN, REJECTED)}
    gaps = [abs(a - b) for a, b in zip(words[CHOSEN], words[REJECTED], strict=True)]
    within = float(np.mean([gap <= 2 for gap in gaps])) if gaps else None
    longer = float(np.mean([b > a for a, b in zip(words[CHOSEN], words[REJECTED], strict=True)])) if gaps else None
    named = {name: spread([float(value) for value in values]) for name, values in words.items()}
    return {**named, "gap": spread(list(map(float, gaps))), "within_2_words": within, "rejected_longer": longer}


def leaks(pairs: Sequence[PreferencePair], held_out: Sequence[Example]) -> dict[str, Any]:
    """How many pairs share a patient or an image with a held-out example."""
    patients = {example.patient for example in held_out}
    images = {ref.sha256 for example in held_out for ref in example.images}
    by_patient = sum(pair.patient in patients for pair in pairs)
    by_image = sum(any(ref.sha256 in images for ref in pair.views["clean"]) for pair in pairs)
    return {"held_out": len(held_out), "by_patient": by_patient, "by_image": by_image}


def _reasons(dropped: Sequence[Mapping[str, str]]) -> dict[str, int]:
    return _tally(f"{row['builder']}: {row['step']}: {row['reason']}" for row in dropped)


def _tally(names: Any) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Number, mean, standard deviation and quartiles of values; None where there are none."""
    if not len(values):
        return {"n": 0, "mean": None, "std": None, "min": None, "median": None, "max": None}
    numbers = np.asarray(values, dtype=np.float64)
    named = {"mean": numbers.mean(), "std": numbers.std(), "min": numbers.min(), "median": np.median(numbers)}
    return {"n": len(values), **{key: round(float(v), 6) for key, v in {**named, "max": numbers.max()}.items()}}


def histogram(values: Sequence[float], bins: int = 10) -> dict[str, list[float]]:
    """Counts of values in equal bins between the smallest and the largest."""
    if not len(values):
        return {"edges": [], "counts": []}
    counts, edges = np.histogram(np.asarray(values, dtype=np.float64), bins=bins)
    return {"edges": [round(float(edge), 6) for edge in edges], "counts": [int(count) for count in counts]}


def _covered(pair: PreferencePair, name: str) -> float:
    reply = pair.replies[name]
    return sum(span.end - span.start for span in reply.spans) / len(reply.text)


def _changes(pairs: Sequence[PreferencePair], key: str) -> list[float]:
    drawn = [one for pair in pairs if CORRUPT in pair.views for one in pair.provenance.get("corruption", {}).values()]
    return [float(one["change"][key]) for one in drawn if one["change"].get(key) is not None]
