"""Patient-level splits: who goes where, what ``splits.json`` says, and which patients or images are on both sides.

Knows: that a patient belongs to one split. Does not know: where the examples come from.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from medpref.errors import DataError
from medpref.schema import SPLITS, Example, Split
from medpref.seeds import derive_seed

logger = logging.getLogger(__name__)


def assign_split(patient: str, *, seed: int, validation: float = 0.1, test: float = 0.2) -> Split:
    """The split of a patient, from the seed and the patient's name alone; shares are expectations, not quotas."""
    place = unit_hash(seed, "split", patient)
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def unit_hash(seed: int, *names: str) -> float:
    """A number in [0, 1) that depends on the seed and the names alone, uniform over names."""
    return derive_seed(seed, *names) / 2**63


class Leak(NamedTuple):
    """A patient or an image (``what``) that stands in several splits; ``examples`` holds one example id of each."""

    what: str
    name: str
    splits: tuple[str, ...]
    examples: tuple[str, ...]


def leaks(examples: Iterable[Example]) -> list[Leak]:
    """Every patient, and every image by its hash, that has examples in more than one split; sorted."""
    first: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for example in examples:
        keys = [("patient", example.patient), *(("image", image.sha256) for image in example.images)]
        for key in keys:
            first[key].setdefault(example.split, example.id)
    return [
        Leak(what, name, splits, tuple(held[split] for split in splits))
        for (what, name), held in sorted(first.items())
        if len(splits := tuple(split for split in SPLITS if split in held)) > 1
    ]


def splits(examples: Sequence[Example]) -> dict[str, Any]:
    """The content of ``splits.json``: per split its examples, patients and images; and what leaks between splits."""
    content: dict[str, Any] = {}
    for split in SPLITS:
        inside = [example for example in examples if example.split == split]
        content[split] = {
            "examples": len(inside),
            "images": len({image.sha256 for example in inside for image in example.images}),
            "patients": sorted({example.patient for example in inside}),
        }
    found = leaks(examples)
    content["leaks"] = {
        what: [{"name": leak.name, "splits": list(leak.splits)} for leak in found if leak.what == what]
        for what in ("patient", "image")
    }
    return content


def check_examples(examples: Sequence[Example], *, where: str) -> None:
    """Stop a source that cannot be trained or measured on: nothing, one id twice, no train, nothing held out.

    Leaks are logged, not refused: some official splits (VQA-RAD) share images between train and test by design.
    """
    if not examples:
        raise DataError(where, given="no examples", expected="at least one", todo="check the source's files")
    twice, times = Counter(example.id for example in examples).most_common(1)[0]
    if times > 1:
        given = f"the example id {twice!r} {times} times"
        raise DataError(where, given=given, expected="every id once", todo="rename the later ones")
    present = {example.split for example in examples}
    if "train" not in present or len(present) == 1:
        given = f"examples of the split{'s' if len(present) > 1 else ''} {', '.join(sorted(present))} only"
        todo = "set each row's split, or let the source split by patient (split: by_patient)"
        raise DataError(where, given=given, expected="train, and test or validation", todo=todo)
    found = leaks(examples)
    if found:
        counts = Counter(leak.what for leak in found)
        text = ", ".join(f"{number} {what}s" for what, number in sorted(counts.items()))
        logger.warning("%s: %s are in more than one split; see splits.json", where, text)
