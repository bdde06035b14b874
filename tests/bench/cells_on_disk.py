"""Finished cells made of arithmetic: no model, no training, any skill, any number of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medpref import store
from medpref.bench.layout import config_of, folder_of
from medpref.bench.values import CellDone
from medpref.grid import Cell, Grid, Method
from medpref.schema import VerdictRow
from medpref.seeds import generator

QUESTIONS = 4
ROLES = {"base": "base", "sft": "sft"}


def grid_of(methods: Sequence[str], *, seeds: Sequence[int] = (0, 1, 2), policies: Sequence[str] = ("tiny:x",)) -> Grid:
    return Grid(
        name="made",
        policies=tuple(policies),
        sources=("phantom",),
        seeds=tuple(seeds),
        methods=tuple(Method(name=name, recipe="dpo") for name in methods),
    )


def build_cell(
    out: Path,
    cell: Cell,
    skills: Mapping[str, float],
    *,
    patients: int = 20,
    same_patients: bool = False,
    failures: Mapping[str, str] | None = None,
) -> CellDone:
    """A cell with base, SFT, one control and the methods of ``skills``: each answers with its probability, by name.

    A name is drawn once a (skill, patient, question): equal skills give equal answers.
    """
    folder = folder_of(out, cell)
    data_seed = 0 if same_patients else cell.seed
    store.write_lines(
        folder / "examples" / "examples.jsonl", [_example(number, data_seed) for number in range(patients)]
    )
    everyone = {"base": 0.3, "sft": 0.5, "dpo_sft_control": 0.5, **skills}
    models = {}
    for name, skill in everyone.items():
        rows = _verdicts(skill, patients=patients, seed=cell.seed, data_seed=data_seed)
        store.write_lines(folder / "eval" / name / "verdicts.jsonl", rows)
        store.write_json(folder / "eval" / name / "manifest.json", {"hash": store.digest([r.value for r in rows])})
        value = float(np.mean([row.value for row in rows if row.value is not None]))
        models[name] = {"overall_accuracy": {"value": value}, "overall_accuracy@shortcut=broken": {"value": value}}
    arms = [
        {"name": name, "role": _role(name, skills), "control": "dpo_sft_control" if name in skills else None}
        for name in everyone
    ]
    summary = {"arms": arms, "models": models, "synthetic": True, "seconds": {"examples": 2.0}, "comparisons": []}
    store.write_json(folder / "summary.json", summary)
    store.write_json(folder / "run.json", config_of(cell).model_dump(mode="json"))
    return done_of(out, cell, failures=failures)


def done_of(out: Path, cell: Cell, *, error: str = "", failures: Mapping[str, str] | None = None) -> CellDone:
    return CellDone(
        policy=cell.policy,
        source=cell.source,
        seed=cell.seed,
        folder=folder_of(out, cell).relative_to(out).as_posix(),
        error=error,
        failures=failures or {},
    )


def _role(name: str, skills: Mapping[str, float]) -> str:
    return "recipe" if name in skills else ROLES.get(name, "control")


def _example(patient: int, data_seed: int) -> dict[str, object]:
    return {"patient": f"p{patient}", "images": [{"sha256": store.digest([patient, data_seed]), "path": "x"}]}


def _verdicts(skill: float, *, patients: int, seed: int, data_seed: int) -> list[VerdictRow]:
    rows = []
    for patient in range(patients):
        draws = generator(seed, "draws", str(data_seed), str(patient)).random(QUESTIONS)
        for question, draw in enumerate(draws):
            rows.append(
                VerdictRow(
                    example=f"p{patient}-q{question}",
                    patient=f"p{patient}",
                    metric="closed_accuracy",
                    value=float(draw < skill),
                    tags={"shortcut": "broken" if question % 2 else "held"},
                )
            )
    return rows
