"""What supervised training reads: the data set's own answers, and a curation's chosen replies (the matched control)."""

from __future__ import annotations

from collections.abc import Iterable

from medpref import store
from medpref.schema import CHOSEN, CLEAN, Example, PreferencePair, Reply


def sft_pairs(examples: Iterable[Example]) -> list[PreferencePair]:
    """Each train example as a pair with the single reply ``chosen``: what SFT reads."""
    return [
        PreferencePair(
            id=f"{example.id}/sft",
            example=example.id,
            patient=example.patient,
            question=example.question,
            views={CLEAN: example.images},
            replies={CHOSEN: Reply(text=example.answer, author="reference")},
            kind=example.kind,
        )
        for example in examples
        if example.split == "train"
    ]


def control_pairs(pairs: Iterable[PreferencePair]) -> list[PreferencePair]:
    """The pairs' chosen replies on their clean views, unweighted: the matched SFT control's data."""
    keep = {"views": lambda pair: {CLEAN: pair.views[CLEAN]}, "replies": lambda pair: {CHOSEN: pair.replies[CHOSEN]}}
    return [
        pair.model_copy(update={**{key: make(pair) for key, make in keep.items()}, "weight": 1.0}) for pair in pairs
    ]


def control_digest(pairs: Iterable[PreferencePair]) -> str:
    """The digest of what the matched control trains on, in its order: recipes that agree here share one control."""
    kept = ((pair.question, pair.views[CLEAN], pair.replies[CHOSEN].text) for pair in pairs)
    return store.digest([[question, [image.sha256 for image in images], text] for question, images, text in kept])
