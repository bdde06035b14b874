"""What a stage's line says of its counts, and which slices a run compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medpref import store
from medpref.run import Run, RunConfig
from medpref.schema import VerdictRow
from medpref.summary import SLICE_KEYS, compared_slices


def said(counts: dict[str, Any], *, skipped: bool = False) -> str:
    lines: list[str] = []
    config = RunConfig(recipes=("dpo",), source="phantom", policy="tiny:llava-mistral")
    run = Run(config, Path(), [], [], None, lines.append)
    manifest = {"seconds": 1.25, "counts": counts, "skipped": skipped}
    assert run.note("pairs/dpo", manifest) is manifest
    assert run.seconds == {"pairs/dpo": 1.25}
    (line,) = lines
    return line


def test_digests_and_nested_counts_stay_in_the_manifest_alone() -> None:
    line = said({"pairs": 3, "control": store.digest("x"), "devices": {"cuda": 1}, "checkpointing": "none"})
    assert line.split(maxsplit=1)[0] == "pairs/dpo"
    assert line.endswith("   pairs 3, checkpointing none")
    assert "done before" in said({"pairs": 3}, skipped=True)


def test_a_long_word_that_is_no_digest_is_said() -> None:
    word = "g" * 64
    assert said({"layout": word}).endswith(f"layout {word}")


def row(**tags: str) -> VerdictRow:
    return VerdictRow(example="e", patient="p", metric="accuracy", value=1.0, tags=tags)


def test_compared_slices_are_the_named_ones_once_each_in_order() -> None:
    rows = [
        row(shortcut="broken", side="left", source="phantom"),
        row(shortcut="kept", image_seen="yes"),
        row(shortcut="broken", severity="mild"),
        row(),
    ]
    expected = ["image_seen=yes", "shortcut=broken", "shortcut=kept", "source=phantom"]
    assert compared_slices(rows) == compared_slices(reversed(rows)) == expected
    assert compared_slices([]) == []
    assert all(name.split("=")[0] in SLICE_KEYS for name in expected)
    assert compared_slices(iter([row(**{key: "x" for key in SLICE_KEYS})])) == sorted(f"{key}=x" for key in SLICE_KEYS)
