"""``summary.json``: every model's metrics with intervals, every comparison, the seconds of each stage."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from itertools import pairwise
from typing import Any

from medpref import stages, store
from medpref.schema import VerdictRow

PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy")
SLICE_KEYS = ("shortcut", "source", "image_seen")
IN_TURN = 4
FIELDS = ("value", "low", "high", "items", "clusters")


def wanted(arms: list[Any]) -> list[tuple[str, str]]:
    """The couples compared: recipe and control, recipe and start, start and base; few recipes also in turn."""
    named = {arm.role: arm.name for arm in arms}
    start = named.get("sft", "base")
    pairs = [(start, "base")] if start != "base" else []
    recipes = [arm for arm in arms if arm.role == "recipe"]
    for arm in recipes:
        pairs += [(arm.name, arm.control)] if arm.control else []
        pairs.append((arm.name, start))
    pairs += [(arm.name, start) for arm in arms if arm.role == "control"]
    return pairs + [(later.name, earlier.name) for earlier, later in pairwise(recipes) if len(recipes) <= IN_TURN]


def compare_stage(run: Any) -> stages.Manifest:
    """eval/comparisons/: the paired differences of the models that belong together."""
    root = run.root
    pairs = wanted(run.arms)

    def work(out: Any) -> Mapping[str, Any]:
        from medpref.evaluation.compare import compare
        from medpref.progress import track

        rows = {
            arm.name: store.read_lines(root / stages.EVAL / arm.name / "verdicts.jsonl", VerdictRow) for arm in run.arms
        }
        slices = compared_slices(rows[pairs[0][0]]) if pairs else []
        found = [
            {"a": a, "b": b, **difference}
            for a, b in track(pairs, "compare")
            for difference in compare(rows[a], rows[b], seed=run.config.seed, slices=slices)
        ]
        store.write_json(out / "comparisons.json", found)
        return {"comparisons": len(found)}

    hashes = {arm.name: (store.read_manifest(root / stages.EVAL / arm.name) or {}).get("hash") for arm in run.arms}
    inputs = {"models": hashes, "pairs": pairs, "seed": run.config.seed, "slices": SLICE_KEYS}
    return store.stage(root / stages.EVAL / "comparisons", name="compare", inputs=inputs, work=work)


def compared_slices(rows: Iterable[VerdictRow]) -> list[str]:
    """The slices whose differences are tested: those by shortcut, origin and whether the image was seen.

    Every further slice would be one more family of tests; estimates of all slices are in ``estimates.json``.
    """
    return sorted({f"{key}={value}" for row in rows for key, value in row.tags.items() if key in SLICE_KEYS})


def summarise(run: Any) -> dict[str, Any]:
    """Write and return ``summary.json`` of a finished run."""
    root = run.root
    models = {arm.name: _metrics(store.read_json(root / stages.EVAL / arm.name / "estimates.json")) for arm in run.arms}
    summary = {
        "recipe": "+".join(recipe.name for recipe in run.recipes),
        "source": run.config.source,
        "policy": run.config.policy,
        "synthetic": run.source.synthetic,
        "seed": run.config.seed,
        "arms": [{"name": arm.name, "role": arm.role, "control": arm.control} for arm in run.arms],
        "models": models,
        "comparisons": store.read_json(root / stages.EVAL / "comparisons" / "comparisons.json"),
        "seconds": run.seconds,
        "versions": versions(),
    }
    store.write_json(root / "summary.json", summary)
    return summary


def _metrics(estimates: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Overall metrics by name; a slice's as ``metric@key=value``, a question kind's as ``metric@kind=KIND``."""
    found = {}
    for row in estimates["estimates"]:
        suffix = "" if row["slice"] == "all" else f"@{row['slice']}"
        suffix += "" if row["kind"] == "all" else f"@kind={row['kind']}"
        found[row["metric"] + suffix] = {key: row[key] for key in FIELDS}
    return found


def versions() -> dict[str, str]:
    """Versions of Python, of medpref and of what it stands on."""
    import medpref

    return {"python": platform.python_version(), "medpref": medpref.__version__} | {
        name: metadata.version(name) for name in PACKAGES
    }
