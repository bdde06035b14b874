from __future__ import annotations

from pathlib import Path

import pytest

from medpref.errors import RecipeError
from medpref.recipe import Recipe, load_recipe, merge, profile_of, set_key, shipped


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_load_and_round_trip(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_extends_replaces_lists_and_merges_mappings() -> None:
    fire, control = load_recipe("fire_mpo"), load_recipe("fire_mpo_control")
    assert control.objective == fire.objective
    assert control.train == fire.train
    assert [p["corrupt"]["kind"] for p in control.pairs] == ["unchanged"]


def test_overrides_reach_mappings_lists_and_scientific_numbers() -> None:
    recipe = load_recipe("dpo", overrides=["train.learning_rate=3e-5", "objective.0.beta=0.3", "train.lora.r=4"])
    assert recipe.train.learning_rate == pytest.approx(3e-5)
    assert recipe.objective[0]["beta"] == pytest.approx(0.3)
    assert recipe.train.lora is not None
    assert recipe.train.lora.r == 4


def test_the_policy_brings_its_profile_and_overrides_win() -> None:
    profile = profile_of("tiny:llava-mistral")
    assert load_recipe("dpo", policy="tiny:llava-mistral").train.batch == profile["train"]["batch"]
    assert load_recipe("dpo", policy="tiny:llava-mistral", overrides=["train.batch=3"]).train.batch == 3
    assert profile_of("hf:x/y") == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rat=1", "did you mean 'learning_rate'"),
        ("train.lora.rank=1", "unknown key 'rank'"),
        ("objectiv=1", "did you mean 'objective'"),
        ("train.batch=-1", "greater than 0"),
        ("objective.7.beta=1", "index '7'"),
        ("train.batch", "key=value"),
    ],
)
def test_bad_overrides_name_the_key(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("dpo", overrides=[override])


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'mmedpo'"):
        load_recipe("mmedp")


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(str(tmp_path / "x.yaml"))
    file = tmp_path / "y.yaml"
    file.write_text("a: [")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(str(file))
    file.write_text("- 1")
    with pytest.raises(RecipeError, match="expected a mapping"):
        load_recipe(str(file))


def test_merge_and_set_key_leave_their_input_alone() -> None:
    under = {"a": {"b": 1}, "c": [1, 2]}
    assert merge(under, {"a": {"d": 2}, "c": [3]}) == {"a": {"b": 1, "d": 2}, "c": [3]}
    assert set_key(under, "c.1=5", where="") == {"a": {"b": 1}, "c": [1, 5]}
    assert under == {"a": {"b": 1}, "c": [1, 2]}
