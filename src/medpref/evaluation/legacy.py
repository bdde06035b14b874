"""The literature's own scoring, so that published tables can be compared; every name says ``legacy``.

Known faults, kept on purpose and shown by tests: a substring makes "no" right inside "normal", and a reply that names
every label is right about each of them.
"""

from __future__ import annotations

import re
from collections import Counter

_MARKS = re.compile(r"[^\w\s]")


def legacy_closed_substring(answer: str, reply: str) -> float:
    """1 where the lower-case reference stands anywhere inside the lower-case reply."""
    return float(answer.strip().lower() in reply.lower())


def legacy_open_recall(answer: str, reply: str) -> float:
    """LLaVA-Med's recall: tokens of the *reply* that the reference has, over these plus the reference's missed ones.

    Hits are counted in the reply, so a word said twice counts twice (LLaVA-Med's evaluation script, Li et al. 2023).
    """
    wanted, given = (Counter(_MARKS.sub("", text.lower()).split()) for text in (answer, reply))
    hits = sum(count for word, count in given.items() if word in wanted)
    missed = sum(count for word, count in wanted.items() if word not in given)
    return hits / (hits + missed) if hits + missed else 0.0
