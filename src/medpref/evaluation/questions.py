"""Which questions of a split are evaluated where their number is limited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medpref.recipe import Evaluation
from medpref.schema import Example
from medpref.seeds import generator


def questions(examples: Sequence[Example], settings: Evaluation, *, seed: int) -> list[Example]:
    """At most ``limit`` examples of the evaluation split, whole patients in a seeded order, in their source's order.

    The first patient is taken whole even where it alone has more.
    """
    pool = [example for example in examples if example.split == settings.split]
    if settings.limit is None or len(pool) <= settings.limit:
        return pool
    sizes = Counter(example.patient for example in pool)
    patients = sorted(sizes)
    generator(seed, "evaluation", settings.split).shuffle(patients)
    kept: set[str] = set()
    count = 0
    for patient in patients:
        if count and count + sizes[patient] > settings.limit:
            break
        kept.add(patient)
        count += sizes[patient]
    return [example for example in pool if example.patient in kept]
