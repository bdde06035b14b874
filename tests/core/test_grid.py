"""Grids: every shipped one builds and expands; a bad one names its line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpref.check import check
from medpref.errors import RecipeError
from medpref.grid import Grid, load_grid, shipped_grids
from medpref.recipe import load_recipe

POLICY = "tiny:llava-mistral"


def write(folder: Path, text: str) -> str:
    file = folder / "grid.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("name", shipped_grids())
def test_a_shipped_grid_builds_checks_itself_and_round_trips(name: str) -> None:
    grid = load_grid(name)
    assert grid.name == name
    assert Grid.model_validate(grid.model_dump(mode="json")) == grid
    for method in grid.methods:
        recipe = grid.recipe(method, policy=POLICY, source="phantom")
        assert recipe.name == method.name
        check(recipe)
    recipes = [grid.recipe(method) for method in grid.methods]
    different = {(str(recipe.pairs), str(recipe.objective), str(recipe.train)) for recipe in recipes}
    assert len(different) == len(recipes), "two methods of the grid are the same"


def test_cells_are_policies_by_sources_by_seeds_with_complete_overrides(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: dpo\nname: mine\n")
    text = """
        name: g
        policies: [a, b]
        sources: [phantom, "phantom:studies=3"]
        seeds: [4, 5]
        set: [train.batch=2]
        methods:
          - dpo
          - mine.yaml
          - {name: hot, recipe: dpo, set: [objective.0.beta=0.5, train.batch=3]}
    """
    cells = load_grid(write(tmp_path, text)).cells()
    assert len(cells) == 2 * 2 * 2
    assert cells[1][:3] == ("a", "phantom", 5)
    assert cells[-1][:3] == ("b", "phantom:studies=3", 5)
    assert cells[0].methods == (
        ("dpo", "dpo", ("train.batch=2", "name=dpo")),
        ("mine", str(tmp_path / "mine.yaml"), ("train.batch=2", "name=mine")),
        ("hot", "dpo", ("train.batch=2", "objective.0.beta=0.5", "train.batch=3", "name=hot")),
    )
    name, recipe, overrides = cells[0].methods[2]
    hot = load_recipe(recipe, overrides=overrides)
    assert (hot.name, hot.train.batch, hot.objective[0]["beta"]) == (name, 3, 0.5)


HEAD = "name: g\npolicies: [p]\nsources: [phantom]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: [dpo]\nname: g\nsources: [phantom]\n", "Field required"),
        (HEAD + "methods: []\n", "at least 1 item"),
        (HEAD + "method: [dpo]\nmethods: [dpo]\n", "did you mean 'methods'"),
        (HEAD + "seeds: 3\nmethods: [dpo]\n", "expected a list; write seeds"),
        (HEAD + "methods: [dp]\n", "grid g, method dp: recipe 'dp': unknown name.*did you mean 'dpo'"),
        (HEAD + "methods: [dpo, dpo]\n", "method dpo twice"),
        (HEAD + "seeds: [1, 1]\nmethods: [dpo]\n", "seed 1 twice"),
        (HEAD + "methods: [{recipe: dpo, nam: x}]\n", "did you mean 'name'"),
        (HEAD + "methods: [{recipe: dpo, set: train.batch=1}]\n", "write set: "),
        (HEAD + "methods: [{recipe: dpo, set: [train.batsh=1]}]\n", "method dpo: .*did you mean 'batch'"),
        (HEAD + "methods: [{recipe: dpo, set: [objective.1.beta=1]}]\n", "index '1'"),
        (HEAD + "set: [source.studies=4]\nmethods: [dpo]\n", "write it in sources"),
        (HEAD + "methods: [{recipe: dpo, name: 1}]\n", "name"),
        (HEAD + "methods: [{recipe: dpo, name: '1'}]\n", "a letter first|a letter, then"),
        (HEAD + "methods: [3]\n", "expected a method"),
        ("a: [", "not YAML"),
        ("- 1", "expected a mapping"),
    ],
)
def test_a_bad_grid_names_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_grid(write(tmp_path, text))


def test_an_unknown_grid_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'mmedpo_ablations'"):
        load_grid("mmedpo_ablation")
    with pytest.raises(RecipeError, match="no such file"):
        load_grid("nowhere.yaml")
