"""Grids: methods x policies x sources x seeds as data, expanded into cells. Loads no torch and no model.

A shipped grid is a YAML file in ``medpref/grids``; a method of a grid is a recipe with overrides, under a name of its
own. Knows: how to expand and check a grid. Does not know: how a cell is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from medpref.errors import RecipeError
from medpref.recipe import Recipe, load_recipe, read_mapping, shipped
from medpref.registry import build
from medpref.schema import Frozen, is_name

Overrides = tuple[str, ...]


class Cell(NamedTuple):
    """One run of a grid: every method on one policy, source and seed, so that they share base, SFT and replies.

    ``methods`` are ``(name, recipe, overrides)``; the overrides are complete (the grid's, then the method's) and set
    the recipe's name to the method's, so that two methods of one recipe lie in folders of their own.
    """

    policy: str
    source: str
    seed: int
    methods: tuple[tuple[str, str, Overrides], ...]


class Method(Frozen):
    """A row of a grid: a recipe (shipped name or file) with ``set`` overrides, and what it is on the grid's axes."""

    name: str
    recipe: str
    set: Overrides = ()
    axes: Mapping[str, str] = Field(default_factory=dict, description="for tables: objective, text negative ...")


class Grid(Frozen):
    """Methods x policies x sources x seeds. ``set`` holds overrides of every method's recipe."""

    name: str
    summary: str = ""
    policies: tuple[str, ...] = Field(min_length=1)
    sources: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    set: Overrides = ()
    methods: tuple[Method, ...] = Field(min_length=1)

    def cells(self) -> tuple[Cell, ...]:
        """One cell for each policy, source and seed, in the grid's order.

        >>> [cell.seed for cell in load_grid("fire_mpo_ablations").cells()]
        [0, 1, 2, 3, 4]
        """
        methods = tuple((one.name, one.recipe, self.overrides(one)) for one in self.methods)
        return tuple(
            Cell(policy, source, seed, methods)
            for policy in self.policies
            for source in self.sources
            for seed in self.seeds
        )

    def overrides(self, method: Method) -> Overrides:
        """All overrides of a method, the later ones stronger: the grid's, the method's, its name."""
        return (*self.set, *method.set, f"name={method.name}")

    def recipe(self, method: Method, *, policy: str = "", source: str = "") -> Recipe:
        """The recipe that a method stands for, with a policy's profile where one is given."""
        return load_recipe(method.recipe, overrides=self.overrides(method), policy=policy, source=source)


def shipped_grids() -> list[str]:
    """The names of the grids inside the package."""
    return shipped("grid")


def load_grid(name: str) -> Grid:
    """The grid of a shipped name or a YAML file; every method's recipe is loaded once, so that errors come now.

    A recipe file is looked for beside the grid's file. RecipeError names the grid, the method, the key and what to do.
    """
    fields, folder = read_mapping(name, "grid")
    where = f"grid {fields.get('name', name)}"
    for key in ("policies", "sources", "seeds", "set", "methods"):
        if key in fields and not isinstance(fields[key], list):
            raise RecipeError(where, given=f"{key} = {fields[key]!r}", expected="a list", todo=f"write {key}: [...]")
    rows = [_method(row, where=f"{where}, methods[{index}]", folder=folder) for index, row in enumerate(_rows(fields))]
    grid: Grid = build(Grid, {**fields, "methods": tuple(rows)}, where=where)
    _check(grid, where=where)
    return grid


def _rows(fields: Mapping[str, Any]) -> list[Any]:
    return list(fields.get("methods") or ())


def _method(row: Any, *, where: str, folder: Path | None) -> Method:
    """A method of a bare recipe name or of a mapping, its recipe file found beside the grid."""
    held = {"recipe": row} if isinstance(row, str) else row
    recipe = held.get("recipe", held.get("name")) if isinstance(held, Mapping) else None
    if not isinstance(held, Mapping) or not isinstance(recipe, str):
        todo = "write a recipe's name, or {name: ..., recipe: ..., set: [key=value]}"
        raise RecipeError(where, given=repr(row), expected="a method", todo=todo)
    name = held.get("name", Path(recipe).stem if recipe.endswith((".yaml", ".yml")) else recipe)
    if folder is not None and recipe.endswith((".yaml", ".yml")) and (folder / recipe).is_file():
        recipe = str(folder / recipe)
    changes = held.get("set", [])
    if not isinstance(changes, list):
        raise RecipeError(where, given=f"set = {changes!r}", expected="a list", todo="write set: [key=value]")
    method: Method = build(Method, {**held, "name": name, "recipe": recipe, "set": tuple(changes)}, where=where)
    return method


def _check(grid: Grid, *, where: str) -> None:
    for noun, names in (("method", [one.name for one in grid.methods]), ("seed", [*map(str, grid.seeds)])):
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise RecipeError(where, given=f"{noun} {twice[0]} twice", expected="distinct ones", todo="rename one")
    for one in (grid.name, *(method.name for method in grid.methods)):
        if not (is_name(one) and one[0].isalpha()):
            raise RecipeError(where, given=f"name {one!r}", expected="a letter, then a-z 0-9 _ . -", todo="rename it")
    for method in grid.methods:
        place = f"{where}, method {method.name}"
        for override in grid.overrides(method):
            if override.startswith("source."):
                todo = "write it in sources, such as phantom:studies=100"
                raise RecipeError(place, given=repr(override), expected="a key of a recipe", todo=todo)
        try:
            grid.recipe(method)
        except RecipeError as error:
            message = f"{place}: {error.where}"
            raise RecipeError(message, given=error.given, expected=error.expected, todo=error.todo) from error
