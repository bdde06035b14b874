"""The reference model behind the evidence check of curation: log-probabilities of pairs through the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref.curation.evidence import Read
from medpref.schema import Branch, PreferencePair


def reference_reader(policy: Callable[[], Any], root: Path) -> Read:
    """A reader of pairs that loads the policy on first use: as it stands before alignment, it is the reference."""
    held: list[Read] = []

    def read(pairs: Sequence[PreferencePair]) -> Sequence[Mapping[Branch, float]]:
        if not held:
            from medpref.evaluation.read import engine_reader

            held.append(engine_reader(policy(), root))
        return held[0](pairs)

    return read
