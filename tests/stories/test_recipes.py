"""Every shipped recipe curates pairs on phantom films and trains some steps on a tiny random model.

A random model's own replies are noise, so on-policy recipes are given replies made by hand: the reference, or another
answer to the same kind of question. Recipes that ask a language model are answered by the rules.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from safetensors.torch import load_file

from medpref import store
from medpref.check import check
from medpref.curation.build import build_pairs
from medpref.curation.builder import parse_builder
from medpref.curation.chat_ahead import asks
from medpref.curation.sampling import plans
from medpref.errors import RecipeError
from medpref.grid import load_grid, shipped_grids
from medpref.models.chat import NOBODY, Roles
from medpref.models.chat_rules import Rules
from medpref.models.policy import load_policy
from medpref.recipe import Lora, Recipe, Train, load_recipe, shipped
from medpref.schema import Branch, Example, OwnReply, PreferencePair
from medpref.sources.phantom import Phantom
from medpref.supervised import sft_pairs
from medpref.training.train import train

POLICY = "tiny:llava-mistral@random"
FAST = Train(steps=10, batch=4, learning_rate=5e-3, scheduler="constant", lora=Lora(r=4, alpha=8))
PAIRS, FEW = 6, 48
NEVER_ASKED = {"modality", "organ"}  # of phantom films; the builders of these errors make no pair there


class Study(NamedTuple):
    root: Path
    examples: list[Example]
    own: dict[str, OwnReply]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("recipes")
    source = Phantom(studies=24, validation=0, test=0, size_px=64)
    examples = list(source.load(root / "examples", seed=0, prefix="examples"))
    return Study(root, examples, replies_by_hand(examples))


def replies_by_hand(examples: Sequence[Example]) -> dict[str, OwnReply]:
    """Every other example answered right, the others with the next answer to their kind of question."""
    answers: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        if example.answer not in answers[example.kind]:
            answers[example.kind].append(example.answer)
    replies = {}
    for number, example in enumerate(examples):
        known = answers[example.kind]
        other = known[(known.index(example.answer) + 1) % len(known)]
        text = example.answer if number % 2 else other
        log_probs = tuple(-0.01 * (1 + (number * 7) % 50) for _ in range(3))
        replies[example.id] = OwnReply(example=example.id, text=text, log_probs=log_probs)
    return replies


def pairs_of(recipe: Recipe, study: Study) -> list[PreferencePair]:
    """A few pairs of each builder; a recipe that samples asks the random model about few examples, for few tokens."""
    if not recipe.pairs:
        return sft_pairs(study.examples)[:PAIRS]
    builders = [{**brief(config), "limit": PAIRS} for config in recipe.pairs]
    samples = plans([parse_builder(config, "test") for config in builders])
    out = study.root / "pairs" / recipe.name
    counts = build_pairs(
        builders,
        study.examples[:FEW] if samples else study.examples,
        study.own,
        out,
        root=study.root,
        prefix=f"pairs/{recipe.name}",
        seed=0,
        policy=lambda: load_policy(POLICY),
        roles=Roles((Rules(),)) if asks(recipe.pairs) else NOBODY,
    )
    empty = {builder["name"] for builder in builders if not counts.get(f"pairs/{builder['name']}")}
    assert empty <= NEVER_ASKED, counts
    return store.read_lines(out / "pairs.jsonl", PreferencePair)


def brief(config: Mapping[str, Any]) -> dict[str, Any]:
    rejected = config.get("rejected")
    if rejected and rejected.get("corrupt"):
        return {**config, "rejected": {**rejected, "max_new_tokens": 4}}
    return dict(config)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_trains(name: str, study: Study) -> None:
    recipe = load_recipe(name, policy=POLICY)
    objective = check(recipe).objective
    pairs = pairs_of(recipe, study)
    lora = Lora(r=4, alpha=8, dropout=recipe.train.lora.dropout if recipe.train.lora else 0.0)
    out = study.root / "train" / name
    settings = FAST.model_copy(update={"lora": lora})
    counts = train(load_policy(POLICY), pairs, objective, settings, out=out, root=study.root, seed=0, label=name)
    rows = [row for _, row in store.iter_lines(out / "steps.jsonl")]
    assert counts["steps"] == len(rows) == 10
    assert all(math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"]) for row in rows)
    for part in objective.names:
        assert any(row[f"terms/{part}"] != 0 for row in rows), f"no pair has what {part} reads"
    trained = load_file(out / "adapter_model.safetensors")
    assert any(value.abs().max() > 0 for key, value in trained.items() if "lora_B" in key)
    if "rewards/margins" in rows[0]:
        # a step's margin is of its own batch, not seen before: one batch is noise, half of them are not
        later = [row["rewards/margins"] for row in rows[5:]]
        assert sum(later) / len(later) > rows[0]["rewards/margins"]
    else:
        assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_released_mdpo_is_found_dead_before_anything_runs() -> None:
    recipe = load_recipe("mdpo_as_released")
    assert check(recipe).warnings == ("recipe mdpo_as_released: view 'corrupt' is made and no term reads it",)
    with pytest.raises(RecipeError, match="view 'corrupt' is made and no term reads it"):
        check(recipe, strict=True)
    assert check(load_recipe("mdpo"), strict=True).warnings == ()


def variants() -> list[tuple[str, str]]:
    """Grid methods that override how pairs are made; the others are shipped recipes, or differ in the objective."""
    grids = {name: load_grid(name) for name in shipped_grids()}
    return [
        (name, method.name)
        for name, grid in grids.items()
        for method in grid.methods
        if any(text.startswith("pairs") for text in method.set)
    ]


@pytest.mark.parametrize(("name", "method"), variants())
def test_a_variant_of_a_grid_makes_pairs_that_feed_its_terms(name: str, method: str, study: Study) -> None:
    grid = load_grid(name)
    recipe = grid.recipe(next(one for one in grid.methods if one.name == method), policy=POLICY)
    pairs = pairs_of(recipe, study)
    made = [{Branch(view, reply) for view in pair.views for reply in pair.replies} for pair in pairs]
    for _, term in check(recipe).objective.terms:
        assert any(term.needs.branches <= branches for branches in made), f"no pair has what {term.name} reads"
