"""Where cells lie, what they are asked, what they share, and which grids are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpref import store
from medpref.bench.command import Narrowed
from medpref.bench.layout import borrow_examples, config_of, distinct, folder_of, narrow, slug
from medpref.errors import RecipeError
from medpref.grid import Grid, Method, load_grid
from medpref.run import prepare
from tests.bench.cells_on_disk import grid_of


def test_a_cell_is_one_run_of_all_methods_under_their_own_names() -> None:
    grid = Grid(
        name="two",
        policies=("tiny:llava-mistral@random",),
        sources=("phantom",),
        seeds=(4,),
        set=("train.steps=3",),
        methods=(Method(name="soft", recipe="dpo", set=("objective.0.beta=0.5",)), Method(name="dpo", recipe="dpo")),
    )
    run = prepare(config_of(grid.cells()[0]), Path(), lambda line: None)
    assert [recipe.name for recipe in run.recipes] == ["soft", "dpo"]
    assert [recipe.objective[0]["beta"] for recipe in run.recipes] == [0.5, 0.1]
    assert {recipe.train.steps for recipe in run.recipes} == {3}
    assert run.config.seed == 4
    restored = type(run.config).model_validate(run.config.model_dump(mode="json"))
    assert restored == run.config


def test_methods_of_one_run_must_share_evaluation_and_sft() -> None:
    grid = grid_of(("a", "b"), policies=("tiny:llava-mistral@random",))
    other = grid.methods[1].model_copy(update={"set": ("evaluation.limit=7",)})
    cell = grid.model_copy(update={"methods": (grid.methods[0], other)}).cells()[0]
    with pytest.raises(RecipeError, match="different evaluation settings"):
        prepare(config_of(cell), Path(), lambda line: None)


def test_a_method_may_not_take_the_name_of_the_base() -> None:
    cell = grid_of(("base",), policies=("tiny:llava-mistral@random",)).cells()[0]
    with pytest.raises(RecipeError, match="none of base"):
        prepare(config_of(cell), Path(), lambda line: None)


def test_another_policy_takes_the_examples_of_the_same_source_and_seed(tmp_path: Path) -> None:
    grid = grid_of(("a",), seeds=(0, 1), policies=("tiny:x", "tiny:y"))
    first, _, later, another_seed = grid.cells()
    made = folder_of(tmp_path, first) / "examples"
    store.write_text(made / "blobs" / "film.png", "pixels")
    assert not borrow_examples(grid, tmp_path, later), "not finished: no manifest yet"
    store.write_json(made / "manifest.json", {"hash": "h"})
    assert borrow_examples(grid, tmp_path, later)
    taken = folder_of(tmp_path, later) / "examples"
    assert (taken / "blobs" / "film.png").samefile(made / "blobs" / "film.png")
    assert store.read_manifest(taken) == {"hash": "h"}
    assert not borrow_examples(grid, tmp_path, later), "already there"
    assert not borrow_examples(grid, tmp_path, another_seed)


def test_a_grid_is_narrowed_and_its_command_says_so() -> None:
    wanted = Narrowed(grid="phantom_smoke", policies=("tiny:llava-mistral@random",), seeds=(3,), methods=("copo",))
    grid = wanted.load()
    assert [(cell.policy, cell.seed) for cell in grid.cells()] == [("tiny:llava-mistral@random", 3)]
    assert [name for name, _, _ in grid.cells()[0].methods] == ["copo"]
    assert wanted.command == "medpref bench phantom_smoke --policy tiny:llava-mistral@random --seed 3 --method copo"


def test_whom_the_cells_may_ask_is_said_as_of_a_run(tmp_path: Path) -> None:
    wanted = Narrowed(
        grid="phantom_smoke",
        overrides=("evaluation.facts=judge", "judge.concurrency=2"),
        judge=("openai:https://llm.example/v1#m",),
        service_is_mine=True,
    )
    grid = wanted.load()
    assert grid.set[-1] == "evaluation.facts=judge"
    (chat,) = prepare(config_of(grid.cells()[0], wanted.asked(tmp_path)), Path(), lambda line: None).roles.chats
    assert (chat.chat.concurrency, chat.outside) == (2, False)
    assert chat.answers.folder == tmp_path / ".chat", "one for all cells"
    assert wanted.command == (
        "medpref bench phantom_smoke --set evaluation.facts=judge --set judge.concurrency=2 "
        "--judge 'openai:https://llm.example/v1#m' --service-is-mine"
    )
    elsewhere = wanted.model_copy(update={"chat_cache": "a", "prompts": "b"}).asked(tmp_path)
    assert (elsewhere.chat_cache, elsewhere.prompts) == (str(Path("a").resolve()), str(Path("b").resolve()))
    assert config_of(grid.cells()[0]) == config_of(grid.cells()[0], Narrowed(grid="phantom_smoke").asked(tmp_path))


def test_overrides_from_outside_win_over_the_grids() -> None:
    grid = narrow(load_grid("phantom_smoke"), overrides=("train.steps=2",))
    assert grid.recipe(grid.methods[0]).train.steps == 2


def test_unknown_methods_and_twins_are_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean 'copo'"):
        narrow(load_grid("phantom_smoke"), methods=("cop",))
    with pytest.raises(RecipeError, match="policies tiny:x, tiny-x"):
        distinct(grid_of(("a",), policies=("tiny:x", "tiny-x")))


def test_long_specs_keep_apart() -> None:
    one, two = (f"phantom:{'studies=100,' * 9}size_px={size}" for size in (96, 128))
    assert slug(one) != slug(two)
    assert max(len(slug(one)), len(slug(two))) < 70


@pytest.mark.parametrize("name", ["phantom", "phantom_smoke", "slake", "vqa_rad"])
def test_shipped_grids_have_what_their_issue_asks(name: str) -> None:
    grid = load_grid(name)
    if name == "phantom":
        assert len(grid.policies) >= 2
        assert len(grid.methods) >= 10
        assert len(grid.seeds) >= 5
    assert len(grid.seeds) >= 2
    assert all(grid.recipe(method, policy=grid.policies[0]).pairs for method in grid.methods)
