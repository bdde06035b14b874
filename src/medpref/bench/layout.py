"""Where the cells of a grid lie, what each is asked to run, and a grid narrowed from the command line."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from medpref import stages, store
from medpref.errors import RecipeError, nearest
from medpref.grid import Cell, Grid
from medpref.run import RunConfig, Variant
from medpref.schema import Frozen

CELLS = "cells"
LONGEST = 60


class Asked(Frozen):
    """Whom every cell may ask, as a run takes it (``RunConfig``); ``settings`` are ``judge.KEY=VALUE``."""

    judge: tuple[str, ...] = ()
    service_is_mine: bool = False
    prompts: str = ""
    chat_cache: str = ""
    settings: tuple[str, ...] = ()


NOBODY = Asked()


def config_of(cell: Cell, asked: Asked = NOBODY) -> RunConfig:
    """One run with every method as an arm, so that base, SFT, own replies, equal pairs and controls are made once."""
    return RunConfig(
        recipes=tuple(name for name, _, _ in cell.methods),
        variants={name: Variant(recipe=recipe, overrides=overrides) for name, recipe, overrides in cell.methods},
        source=cell.source,
        policy=cell.policy,
        seed=cell.seed,
        overrides=asked.settings,
        judge=asked.judge,
        service_is_mine=asked.service_is_mine,
        prompts=asked.prompts,
        chat_cache=asked.chat_cache,
    )


def folder_of(out: Path, cell: Cell) -> Path:
    """``out/cells/POLICY/SOURCE/seed-N``: an ordinary run folder."""
    return out / CELLS / slug(cell.policy) / slug(cell.source) / f"seed-{cell.seed}"


def slug(spec: str) -> str:
    """A spec as a folder's name; a long one keeps its beginning and a mark.

    >>> slug("tiny:llava-mistral@random"), slug("hf:Qwen/Qwen3-VL-4B-Instruct")
    ('tiny-llava-mistral-random', 'hf-Qwen-Qwen3-VL-4B-Instruct')
    """
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", spec).strip("-.") or "x"
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}-{store.digest(spec)[:6]}"


def narrow(
    grid: Grid,
    *,
    policies: Sequence[str] = (),
    sources: Sequence[str] = (),
    seeds: Sequence[int] = (),
    methods: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Grid:
    """The grid with other policies, sources or seeds, only the named methods, and overrides after the grid's own."""
    known = {method.name: method for method in grid.methods}
    for name in methods:
        if name not in known:
            todo = nearest(name, known)
            raise RecipeError(f"grid {grid.name}", given=f"method {name!r}", expected="one of its methods", todo=todo)
    changed = grid.model_copy(
        update={
            "policies": tuple(policies) or grid.policies,
            "sources": tuple(sources) or grid.sources,
            "seeds": tuple(seeds) or grid.seeds,
            "methods": tuple(method for method in grid.methods if not methods or method.name in methods),
            "set": (*grid.set, *overrides),
        }
    )
    return distinct(changed)


def distinct(grid: Grid) -> Grid:
    """The grid; RecipeError where two policies, sources or seeds would share a folder."""
    for noun, specs in (("policies", grid.policies), ("sources", grid.sources), ("seeds", [*map(str, grid.seeds)])):
        if len({slug(spec) for spec in specs}) < len(specs):
            given = f"{noun} {', '.join(specs)}"
            raise RecipeError(f"grid {grid.name}", given=given, expected="distinct ones", todo="name each once")
    return grid


def borrow_examples(grid: Grid, out: Path, cell: Cell) -> bool:
    """Take another policy's finished examples of the same source and seed (hard links); whether there were any.

    The stage still checks their hash, and makes them afresh where it differs.
    """
    target = folder_of(out, cell) / stages.EXAMPLES
    others = [folder_of(out, cell._replace(policy=policy)) / stages.EXAMPLES for policy in grid.policies]
    found = next((path for path in others if path != target and (path / store.MANIFEST).exists()), None)
    if found is None or target.exists():
        return False
    scratch = target.with_name(f"{stages.EXAMPLES}.borrowed")
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(found, scratch, copy_function=_link)
    scratch.rename(target)
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
