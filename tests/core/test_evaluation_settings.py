"""What an evaluation is asked for, as the inputs of its stage: what is off is not named, so that old hashes stay."""

from __future__ import annotations

from medpref.recipe import Evaluation, load_recipe


def test_settings_that_are_off_leave_the_inputs_of_older_runs() -> None:
    assert Evaluation(limit=40).named() == {"split": "test", "limit": 40}
    assert Evaluation(robustness_limit=7).named() == Evaluation().named()
    assert Evaluation(attention=True).named() == {"split": "test", "limit": None, "attention": True}
    assert Evaluation(robustness=True).named() == {
        "split": "test",
        "limit": None,
        "robustness": True,
        "robustness_limit": 200,
    }


def test_they_are_switched_on_by_an_override() -> None:
    assert not load_recipe("dpo").evaluation.robustness
    recipe = load_recipe("dpo", overrides=["evaluation.robustness=true", "evaluation.attention=true"])
    assert (recipe.evaluation.robustness, recipe.evaluation.attention) == (True, True)
