"""Work on examples in fixed chunks, each journalled whole: what a killed run had finished is not worked again.

Knows: which examples go together, and under which key a chunk's values lie. Does not know: what the work is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from medpref import store
from medpref.schema import Example

CHUNK = 64


def chunks(examples: Sequence[Example]) -> list[list[Example]]:
    """Fixed chunks: questions about one study together, reports (long replies) last."""
    order = sorted(
        examples, key=lambda example: (example.answer_type == "report", example.images[0].sha256, example.id)
    )
    return [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]


def by_chunk(
    examples: Sequence[Example], journal: store.Journal, name: str, work: Callable[[Sequence[Example]], list[Any]]
) -> Iterator[Any]:
    """The values of each example in the order of ``chunks``; a chunk that the journal has is not worked again."""
    for chunk in chunks(examples):
        key = f"{name}/{store.digest([example.id for example in chunk])}"
        yield from journal.get(key, functools.partial(work, chunk))
