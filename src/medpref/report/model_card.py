"""The model card of a trained arm: a README.md beside its adapter, in the form that model hubs read.

Says what the run's folder says and nothing more: an unknown licence is written down as unknown, and every number
carries its interval. Every card states that the model is not for clinical use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpref import store
from medpref.errors import ArtifactError, nearest
from medpref.report.contrast import Contrast, contrasts
from medpref.report.contrast import headlines as contrast_headlines
from medpref.report.page import title_of
from medpref.report.read import read_head
from medpref.report.table import headlines
from medpref.report.template import render
from medpref.report.values import Arm, Run, is_control, is_synthetic
from medpref.report.words import model_label, number

CARD = "README.md"
LICENCE_KEYS = ("license", "licence", "licenses", "licences")


def write_model_card(root: Path, name: str, out: Path) -> Path:
    """Write the card of ``train/NAME`` to ``out`` (a folder gets ``README.md``); returns the file's path."""
    run = read_head(root)
    arm = next((held for held in run.arms if held.name == name), None)
    if arm is None:
        todo = nearest(name, [held.name for held in run.arms])
        raise ArtifactError(f"{root / 'train'}", given=f"no arm {name!r}", expected="a trained arm", todo=todo)
    path = out / CARD if out.is_dir() else out
    store.write_text(path, render("model_card.md.j2", **_context(run, arm)))
    return path


def licences(root: Path) -> list[str]:
    """Every licence that the run's examples (tags, manifest) or pairs (provenance) name, in alphabetical order."""
    found: set[str] = set()
    manifest = store.read_manifest(root / "examples") or {}
    sources = [manifest, manifest.get("counts") or {}, (manifest.get("inputs") or {}).get("source") or {}]
    for held in [*sources, *_rows(root / "examples" / "examples.jsonl", "tags")]:
        found |= set(_named(held))
    for folder in sorted((root / "pairs").glob("*/pairs.jsonl")):
        for held in _rows(folder, "provenance"):
            found |= set(_named(held))
    return sorted(found)


def is_non_commercial(names: list[str]) -> bool:
    """Whether any licence forbids commercial use, by its name (CC-BY-NC..., 'non-commercial')."""
    parts = [re.split(r"[^a-z0-9]+", name.lower()) for name in names]
    return any("nc" in words or "noncommercial" in "".join(words) for words in parts)


def _context(run: Run, arm: Arm) -> dict[str, Any]:
    inputs = dict(arm.manifest.get("inputs") or {})
    counts = dict(arm.manifest.get("counts") or {})
    found = licences(run.root)
    return {
        "name": arm.name,
        "label": model_label(arm.name),
        "control": is_control(arm.name),
        "title": title_of(run),
        "front": _front(run, arm),
        "synthetic": is_synthetic(run),
        "source": run.summary.get("source") or run.facts.get("source") or "not recorded",
        "policy": run.summary.get("policy") or run.facts.get("policy") or "not recorded",
        "seed": run.summary.get("seed", run.facts.get("seed", "not recorded")),
        "examples": _plain(run.dataset.manifest.get("counts") or {}),
        "pairs": next((_plain(held.card.get("counts") or {}) for held in run.pair_sets if held.name == arm.name), {}),
        "licences": found,
        "non_commercial": is_non_commercial(found),
        "objective": json.dumps(inputs.get("objective"), indent=2, ensure_ascii=False),
        "settings": json.dumps(inputs.get("train"), indent=2, ensure_ascii=False),
        "counts": _plain(counts),
        "hash": arm.manifest.get("hash", ""),
        "rows": _results(run, arm),
        "contrasts": [(_title(held), _differences(held)) for held in contrasts(run) if held.a == arm.name],
        "warnings": [alarm for model in run.models if model.name == arm.name for alarm in _warnings(model.alarms)],
        "versions": dict(run.summary.get("versions") or {}),
    }


def _front(run: Run, arm: Arm) -> list[tuple[str, str]]:
    """The hub's metadata as ``(key, JSON value)``, which is YAML too."""
    policy = str(run.summary.get("policy") or run.facts.get("policy") or "")
    adapter = (run.root / "train" / arm.name / "adapter_config.json").exists()
    tags = ["medpref", "preference-optimization", "medical", "not-for-clinical-use"]
    tags += ["synthetic"] if is_synthetic(run) else []
    found: list[tuple[str, Any]] = [("library_name", "peft" if adapter else "transformers")]
    found += [("base_model", policy.removeprefix("hf:"))] if policy.startswith("hf:") else []
    found += [("pipeline_tag", "image-text-to-text"), ("tags", tags)]
    return [(key, json.dumps(value)) for key, value in found]


def _results(run: Run, arm: Arm) -> list[tuple[str, str, str, str]]:
    """``(metric, value, interval, questions in patients)`` of this model's headline metrics."""
    found = []
    for row in headlines(run, limit=12):
        cells = {model.name: cell for model, cell in zip(run.models, row.cells, strict=True)}
        cell = cells.get(arm.name)
        if cell is not None and cell.value is not None:
            percent = row.words.percent
            ends = [number(end, percent=percent) for end in (cell.low, cell.high)]
            label = row.label + (", %" if percent else "")
            behind = f"{cell.items:,} in {cell.clusters:,}"
            found.append((label, number(cell.value, percent=percent), " to ".join(ends), behind))
    return found


def _title(contrast: Contrast) -> str:
    return f"{model_label(contrast.a)} minus {model_label(contrast.b)}"


def _differences(contrast: Contrast) -> list[tuple[str, str, str, str, str]]:
    """``(metric, difference, interval, Holm's p, outcome)`` of the headline metrics."""
    return [
        (row.words.label + (", points" if row.words.percent else ""), row.shown, row.interval, row.p_holm, row.outcome)
        for row in contrast_headlines(contrast, limit=8)
    ]


def _warnings(alarms: Any) -> list[str]:
    return [alarm.text or alarm.name for alarm in alarms if alarm.level != "ok"]


def _plain(held: Any) -> dict[str, str]:
    """The scalars of a mapping as text."""
    scalars = {str(key): value for key, value in held.items() if not isinstance(value, (dict, list))}
    return {
        key.replace("_", " "): f"{value:,}" if isinstance(value, int) else str(value) for key, value in scalars.items()
    }


def _rows(path: Path, key: str) -> Iterator[Any]:
    if path.exists():
        for _, row in store.iter_lines(path):
            yield row.get(key) or {}


def _named(held: Any) -> Iterator[str]:
    for key in LICENCE_KEYS:
        value = held.get(key) if isinstance(held, dict) else None
        names = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        yield from (str(name) for name in names if name)
