"""The stage of unified instruction data: what a recipe's ``instructions`` make of a run's train examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medpref import stages, store
from medpref.recipe import Instructions
from medpref.schema import PreferencePair


def instructions_stage(root: Path, settings: Instructions, *, examples: str, seed: int) -> stages.Manifest:
    """instructions/: examples made of the train split, what SFT reads, and a card; ``examples`` is their hash."""

    def work(out: Path) -> Mapping[str, Any]:
        from medpref.curation.instruct import build_instructions

        every = stages.load_examples(root)
        return build_instructions(
            settings,
            [example for example in every if example.split == "train"],
            out,
            root=root,
            prefix=stages.INSTRUCTIONS,
            seed=seed,
            held_out=[example for example in every if example.split != "train"],
        )

    inputs = {"examples": examples, "settings": settings.model_dump(mode="json"), "seed": seed}
    return store.stage(root / stages.INSTRUCTIONS, name=stages.INSTRUCTIONS, inputs=inputs, work=work)


def instruction_pairs(root: Path) -> list[PreferencePair]:
    """What SFT reads where a recipe has ``instructions``."""
    return store.read_lines(store.require(root / stages.INSTRUCTIONS, "pairs.jsonl"), PreferencePair)
