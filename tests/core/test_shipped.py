"""Every shipped recipe and grid checks itself, says what it is, opens with its command, and stands in the docs."""

from __future__ import annotations

import re
import shlex
from importlib import resources
from pathlib import Path

import pytest

from medpref.check import check
from medpref.curation.chat_ahead import asks
from medpref.grid import load_grid, shipped_grids
from medpref.recipe import Recipe, load_recipe, shipped
from medpref.run import parse_source

DOCS = Path(__file__).resolve().parents[2] / "docs"
WITHOUT_CORRUPT_READ = {"mdpo_as_released"}
NO_PAPER = {"sft", "flip", "flip_control"}


def opening(folder: str, name: str) -> list[str]:
    text = (resources.files("medpref") / folder / f"{name}.yaml").read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith("# medpref ")
    return shlex.split(first.removeprefix("# medpref "))


@pytest.mark.parametrize("name", shipped())
@pytest.mark.parametrize("policy", ["", "tiny:llava-mistral"])
def test_a_recipe_builds_checks_itself_and_round_trips(name: str, policy: str) -> None:
    recipe = load_recipe(name, policy=policy)
    checked = check(recipe)
    assert bool(checked.warnings) == (name in WITHOUT_CORRUPT_READ)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert check(Recipe.model_validate(recipe.model_dump(mode="json"))).objective == checked.objective
    assert recipe.name == name
    assert recipe.summary
    assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", recipe.paper) or name in NO_PAPER


@pytest.mark.parametrize("name", shipped())
def test_a_recipe_opens_with_the_command_that_runs_it(name: str) -> None:
    verb, *words = opening("recipes", name)
    names, options = words[: words.index("--source")], words[words.index("--source") :]
    assert verb == "run"
    assert name in names
    assert set(names) <= set(shipped())
    given = dict(zip(options[::2], options[1::2], strict=True))
    asking = {"--judge"} if asks(load_recipe(name).pairs) else set()
    assert set(given) == {"--source", "--policy", "--out", *asking}
    parse_source(given["--source"])
    assert given["--out"] == f"runs/{name}"


@pytest.mark.parametrize("name", shipped_grids())
def test_a_grid_opens_with_the_command_that_runs_it(name: str) -> None:
    assert opening("grids", name) == ["bench", name, "--out", f"runs/{name}"]


def rows(text: str) -> dict[str, list[str]]:
    """The rows of every table by the name in backticks that they open with."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    return {found.group(1): row for row in cells if (found := re.search(r"`(\w+)`", row[0]))}


def test_the_docs_list_every_recipe_and_grid_as_it_is() -> None:
    listed = rows((DOCS / "recipes" / "README.md").read_text(encoding="utf-8"))
    assert set(listed) == {*shipped(), *shipped_grids()}
    for name in shipped():
        recipe = load_recipe(name)
        cell, paper, summary = listed[name]
        assert (paper, summary) == (recipe.paper, recipe.summary)
        link = re.search(r"\]\((\w+\.md)\)", cell)
        assert link
        page = (DOCS / "recipes" / link.group(1)).read_text(encoding="utf-8")
        assert f"`{name}`" in page or page.startswith(f"# {name}\n")
    for name in shipped_grids():
        grid = load_grid(name)
        assert listed[name][1:] == [str(len(grid.methods)), grid.summary]


SECTIONS = ["Loss", "Our slots", "As described and as released", "Published numbers"]


@pytest.mark.parametrize("page", sorted((DOCS / "recipes").glob("*.md")), ids=lambda path: path.stem)
def test_a_page_has_every_section_and_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#\w+)?\)", text):
        assert (page.parent / target).is_file(), target
    if page.stem != "README":
        assert page.stem in shipped()
        assert re.findall(r"^## (.+)$", text, flags=re.M) == SECTIONS
