"""The report of a run: one HTML file that needs no network, no server and no other file.

Everything a reader compares is in the page itself as tables and figures; pairs and wrong answers lie in it as JSON and
are drawn when they come into sight. A content security policy forbids the page to fetch anything or to run any script
but its own, whatever a model's reply contains.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref import store
from medpref.report import table
from medpref.report.card import card_of
from medpref.report.contrast import contrasts, matrix
from medpref.report.contrast import headlines as contrast_headlines
from medpref.report.curves import panels
from medpref.report.figure import Interval, forest
from medpref.report.gallery import gallery
from medpref.report.pack import packed, script_json
from medpref.report.read import read_run
from medpref.report.risk import confidences, with_risk
from medpref.report.strain import attention, robustness
from medpref.report.template import render, source_of
from medpref.report.thumbnail import OpenImage, Thumbnails, open_picture
from medpref.report.values import Alarm, Run, is_control, is_synthetic
from medpref.report.words import is_headline, model_label, sentence
from medpref.report.wrong import failures, judged, wrong_answers

PAGE = "index.html"
SCRIPTS = ("dom.js", "picture.js", "pager.js", "gallery.js", "wrong.js", "start.js")
PAIR_BYTES, WRONG_BYTES, PICTURE_BYTES = 2_600_000, 1_000_000, 3_400_000
WRONG_PICTURES = 0.25
MOST_TABLES = 6
MANY_MODELS, FEW_RECIPES = 6, 3
STAGES = ("examples", "instructions", "sft", "replies", "pairs", "train", "eval", "compare", "report")
LARGE_SIDE, SMALL_SIDE, MANY = 224, 144, 600
RiskCurves = Mapping[str, Sequence[Mapping[str, Any]]]
NO_CURVES: RiskCurves = {}


def write_report(
    root: Path, out: Path, *, open_image: OpenImage = open_picture, curves: RiskCurves = NO_CURVES
) -> dict[str, int]:
    """Write ``out/index.html`` from a run folder; returns counts of what it shows and its size in bytes.

    ``open_image`` reads an image file (pass one that knows DICOM where the examples are DICOM); an image that it cannot
    read is shown as a note. ``curves`` are risk-coverage curves by model. The run folder is only read.
    """
    run = with_risk(read_run(root), curves)
    by_model = [judged(model) for model in run.models]
    pictures, pairs, wrong = _browsers(run, by_model, open_image=open_image)
    script = "\n".join(source_of(f"script/{name}") for name in SCRIPTS)
    script = f"(() => {{\n'use strict';\n{script}}})();"
    html = render(
        "page.html.j2",
        **_context(run),
        failures=failures(run, by_model),
        pairs=pairs,
        wrong=wrong,
        data={
            "pictures": script_json(pictures),
            **{name: script_json(packed(held)) for name, held in (("pairs", pairs), ("wrong", wrong))},
        },
        style=source_of("style.css"),
        script=script,
        policy=content_policy(script),
    )
    store.write_text(out / PAGE, html)
    return {
        "models": len(run.models),
        "pairs": len(pairs["entries"]),
        "wrong_answers": len(wrong["entries"]),
        "pictures": len(pictures),
        "bytes": len(html.encode()),
    }


def content_policy(script: str) -> str:
    """What the page may do: show inlined pictures and styles, run this one script (by its hash), nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def colours(run: Run) -> list[int]:
    """A series number a model: base 0, SFT 3, controls 2, recipes 1, 4, 5; all recipes 1 where there are more."""
    found, recipes = [], 0
    free = (1, 4, 5) if sum(_is_recipe(model.name) for model in run.models) <= FEW_RECIPES else (1,)
    for model in run.models:
        fixed = {"base": 0, "sft": 3}.get(model.name, 2 if is_control(model.name) else None)
        found.append(free[recipes % len(free)] if fixed is None else fixed)
        recipes += fixed is None
    return found


def _is_recipe(name: str) -> bool:
    return name not in ("base", "sft") and not is_control(name)


def _legend(run: Run) -> list[tuple[str, int]]:
    """What the colours of the forest plots mean, where they mean roles."""
    roles = {0: "base", 3: "SFT", 2: "matched control", 1: "recipe"}
    used = set(colours(run))
    return (
        [(label, colour) for colour, label in roles.items() if colour in used] if len(run.models) > MANY_MODELS else []
    )


def _context(run: Run) -> dict[str, Any]:
    slices = table.by_slice(run)
    results = table.results(run)
    main = results.only(lambda row: is_headline(row.key))
    compared = contrasts(run)
    against = [held for held in compared if held.against_control]
    return {
        "run": run,
        "title": title_of(run),
        "synthetic": is_synthetic(run),
        "facts": _facts(run),
        "many": len(run.models) > MANY_MODELS,
        "findings": [(held, contrast_headlines(held)) for held in against],
        "matrix": matrix(against) if len(against) > FEW_RECIPES else None,
        "forests": _forests(run),
        "legend": _legend(run),
        "results": main if main.rows else results,
        "further": results.only(lambda row: row not in main.rows) if main.rows else main,
        "contrasts": compared,
        "kinds": table.by_kind(run)[:MOST_TABLES],
        "shortcut": table.only(slices, lambda row: row.key.startswith("shortcut=")),
        "confidences": confidences(run),
        "robustness": robustness(run),
        "attention": attention(run),
        "slices": table.only(slices, lambda row: not row.key.startswith("shortcut=")),
        "warnings": _alarms(run, lambda alarm: alarm.level != "ok"),
        "quiet": _alarms(run, lambda alarm: alarm.level == "ok"),
        "arms": [(arm, panels(arm)) for arm in run.arms],
        "cards": [card_of(held) for held in run.pair_sets],
        "seconds": _seconds(run),
        "versions": dict(run.summary.get("versions") or {}),
    }


def title_of(run: Run) -> str:
    """``RECIPE on SOURCE``, from whichever of run.json and summary.json says it; many recipes are counted.

    >>> title_of(Run(root=Path(), facts={"recipes": ["a", "b", "c", "d"], "source": "phantom:studies=9,test=2"}))
    '4 recipes on phantom'
    """
    recipes = run.facts.get("recipes") or [run.summary.get("recipe") or run.facts.get("recipe") or "run"]
    names = [recipes] if isinstance(recipes, str) else [str(name) for name in recipes]
    source = run.summary.get("source") or run.facts.get("source")
    said = " and ".join(names) if len(names) <= FEW_RECIPES else f"{len(names)} recipes"
    return said + (f" on {short_source(str(source))}" if source else "")


def short_source(source: str) -> str:
    """A source without its settings.

    >>> short_source("phantom:studies=9,test=2"), short_source("slake:data/slake")
    ('phantom', 'slake:data/slake')
    """
    name, _, settings = source.partition(":")
    return name if "=" in settings else source


def _facts(run: Run) -> list[tuple[str, str]]:
    said = {**run.facts, **run.summary}
    versions = dict(said.get("versions") or {})
    recipes = run.facts.get("recipes") or said.get("recipe")
    found = [
        ("Recipes", ", ".join(recipes) if isinstance(recipes, (list, tuple)) else recipes),
        ("Source", said.get("source")),
        ("Policy", said.get("policy")),
        ("Seed", said.get("seed")),
        ("Settings changed", ", ".join(map(str, said.get("overrides") or ()))),
        ("medpref", versions.get("medpref") or said.get("medpref")),
        *((f"{split} examples", _split_text(run, split)) for split in run.dataset.splits),
    ]
    return [
        (name[:1].upper() + name[1:] if name != "medpref" else name, str(value))
        for name, value in found
        if value not in (None, "")
    ]


def _split_text(run: Run, split: str) -> str:
    return f"{run.dataset.splits[split]:,} of {run.dataset.patients.get(split, 0):,} patients"


def _alarms(run: Run, wanted: Callable[[Alarm], bool]) -> list[tuple[str, str, str]]:
    """``(alarm, what was found, models)``; what was found alike in several models is said once."""
    found: dict[tuple[str, str], list[str]] = {}
    for model in run.models:
        for alarm in filter(wanted, model.alarms):
            said = (sentence(alarm.name), alarm.text or str(alarm.value))
            found.setdefault(said, []).append(model_label(model.name))
    every = len(run.models)
    return [(*said, "all models" if len(names) == every > 1 else ", ".join(names)) for said, names in found.items()]


def _forests(run: Run) -> list[tuple[str, str, Any]]:
    """``(label, note, figure)`` of each headline metric that has intervals."""
    found = []
    for row in table.headlines(run):
        scale = 100 if row.words.percent else 1
        lines = [
            Interval(model_label(model.name), cell.value * scale, cell.low * scale, cell.high * scale, colour)
            for model, cell, colour in zip(run.models, row.cells, colours(run), strict=True)
            if cell is not None and cell.value is not None and cell.low is not None and cell.high is not None
        ]
        if lines:
            label = row.label + (", %" if row.words.percent else "")
            found.append((label, row.words.note, forest(label, lines)))
    return found


def _seconds(run: Run) -> list[tuple[str, float, float]]:
    """``(stage, seconds, share of the longest)``."""
    held: Mapping[str, Any] = run.summary.get("seconds") or {}
    longest = max((float(value) for value in held.values()), default=0.0) or 1.0
    return [(stage, float(held[stage]), float(held[stage]) / longest) for stage in sorted(held, key=_stage_place)]


def _stage_place(stage: str) -> tuple[int, str]:
    """The order in which stages run: ``train/sft`` before the pairs, the other arms after them."""
    first = "sft" if stage == "train/sft" else stage.partition("/")[0]
    return STAGES.index(first) if first in STAGES else len(STAGES), stage


def _browsers(
    run: Run, by_model: list[Any], *, open_image: OpenImage
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The pictures of both browsers (under one key space), the gallery's and the wrong-answer browser's entries."""
    side = SMALL_SIDE if sum(len(held.pairs) for held in run.pair_sets) > MANY else LARGE_SIDE
    some = int(PICTURE_BYTES * WRONG_PICTURES)
    thumbnails = Thumbnails(run.root, budget=some, side=side, open_image=open_image)
    wrong = wrong_answers(run, by_model, thumbnails=thumbnails, budget=WRONG_BYTES)
    thumbnails.extend(PICTURE_BYTES - some)
    pairs = gallery(run, thumbnails, budget=PAIR_BYTES)
    return thumbnails.pictures, pairs, wrong
