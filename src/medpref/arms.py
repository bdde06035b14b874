"""The arms of a run, one model each (the base, its SFT, a recipe's, a matched control): made, trained and evaluated."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medpref import stages, store
from medpref.evaluation.clinical import scorers_kept
from medpref.models.chat import NOBODY
from medpref.recipe import Recipe, Train
from medpref.roles import judge_of
from medpref.supervised import control_pairs, sft_pairs

if TYPE_CHECKING:
    from medpref.run import Run

OWN_REPLY_WRITERS = {"correct", "neighbour", "only", "phrases", "rationale", "sample"}
LIKELIHOOD = ({"kind": "likelihood", "branch": "clean/chosen"},)


@dataclass
class Arm:
    """One model of the run: how it is named, where it lies, and the hash of what made it."""

    name: str
    spec: str
    hash: str
    control: str | None = None
    recipe: str = ""
    role: str = ""


def start(run: Run, examples: str) -> None:
    """The base, and the SFT model that alignment starts from; before it, the instructions that it reads."""
    from medpref.instructions import instruction_pairs, instructions_stage
    from medpref.models.fingerprint import fingerprint

    base = Arm("base", run.config.policy, fingerprint(run.config.policy), role="base")
    run.arms.append(base)
    sft, wanted = run.recipes[0].sft, run.recipes[0].instructions
    if wanted is not None:
        made = instructions_stage(run.root, wanted, examples=examples, seed=run.config.seed)
        run.instructions = run.note("instructions", made)["hash"]
    if sft is None:
        return
    manifest = stages.train_stage(
        run.root,
        "sft",
        start=base.spec,
        start_hash=base.hash,
        pairs=lambda: instruction_pairs(run.root) if wanted else sft_pairs(stages.load_examples(run.root)),
        pairs_hash=run.instructions or examples,
        objective=LIKELIHOOD,
        settings=sft,
        seed=run.config.seed,
    )
    run.note("train/sft", manifest)
    run.arms.append(Arm("sft", str(run.root / stages.TRAIN / "sft"), manifest["hash"], role="sft"))


def curate(run: Run, examples: str) -> dict[str, str]:
    """pairs/NAME for each recipe that makes pairs (once for equal builders); returns their hashes by recipe name."""
    from medpref.curation.chat_ahead import signature
    from medpref.curation.localized import signature as models_named

    begin = run.arms[-1]
    aligned = [(recipe, checked) for recipe, checked in zip(run.recipes, run.checked, strict=True) if aligns(recipe)]
    own: dict[str, str] = {}
    if any(_reads_own(builder) for _, checked in aligned for builder in checked.builders):
        of: dict[str, Any] = {"policy": begin.spec, "policy_hash": begin.hash, "made": run.instructions}
        replies = stages.replies_stage(run.root, **of, seed=run.config.seed)
        own["replies"] = run.note("replies", replies)["hash"]
    hashes: dict[str, str] = {}
    made: dict[str, str] = {}
    for recipe, checked in aligned:
        wanted = recipe.source_pairs and run.has_pairs
        equal = made.get(key := store.digest([recipe.pairs, wanted]))
        if equal is not None:
            hashes[recipe.name], run.pairs[recipe.name] = hashes[equal], equal
            run.chosen[recipe.name] = run.chosen[equal]
            continue
        asked = {"judge": told} if (told := signature(recipe.pairs, run.roles)) else {}
        with run.attempt(recipe.name):
            manifest = stages.pairs_stage(
                run.root,
                recipe.name,
                builders=recipe.pairs,
                imported=lambda examples, wanted=wanted: list(run.source.pairs(examples)) if wanted else [],
                imported_hash=examples if wanted else "",
                policy=begin.spec,
                inputs={"examples": examples, "policy": begin.hash}
                | ({"instructions": run.instructions} if run.instructions else {})
                | (own if any(map(_reads_own, checked.builders)) else {})
                | ({"localizers": models} if (models := models_named(recipe.pairs)) else {})
                | asked,
                seed=run.config.seed,
                roles=run.roles if asked else NOBODY,
            )
            hashes[recipe.name] = store.digest(run.note(f"pairs/{recipe.name}", manifest)["inputs"])
            run.chosen[recipe.name] = manifest["counts"].get("control", hashes[recipe.name])
            made[key] = run.pairs[recipe.name] = recipe.name
    return hashes


def _reads_own(builder: Any) -> bool:
    """Whether a builder needs the policy's own replies: to edit, reject or mine by them, to choose or to localize."""
    writers = [writer for writer in (builder.chosen, builder.rejected) if writer is not None]
    chooses = any(getattr(writer, "plan", None) is not None for writer in writers)
    looks = getattr(builder.localize, "reply", "answer") == "own" and not getattr(builder.localize, "policy", "")
    return builder.mine is not None or chooses or looks or any(writer.kind in OWN_REPLY_WRITERS for writer in writers)


def aligns(recipe: Recipe) -> bool:
    """Whether a recipe trains on pairs at all; ``sft`` does not."""
    return bool(recipe.pairs) or recipe.source_pairs


def align(run: Run, curated: dict[str, str]) -> None:
    """train/NAME for each recipe, and the matched SFT control: same pairs, same steps, likelihood only."""
    begin = run.arms[-1]
    single = sum(map(aligns, run.recipes)) == 1
    controls: dict[str, tuple[str, Recipe]] = {}
    for recipe in (held for held in run.recipes if held.name in curated):
        control = None
        if run.config.control:
            key = store.digest([run.chosen[recipe.name], _schedule(recipe.train)])
            name = "sft_control" if single else f"{recipe.name}_sft_control"
            control, _ = controls.setdefault(key, (name, recipe))
        with run.attempt(recipe.name):
            _train_arm(run, recipe, recipe.name, begin, curated[recipe.name], control=control)
    for name, recipe in controls.values():
        if any(arm.control == name for arm in run.arms):
            with run.attempt(name):
                _train_arm(run, recipe, name, begin, run.chosen[recipe.name], control=None)


def _schedule(train: Train) -> Train:
    """The settings that decide a control: where steps are given, epochs say nothing."""
    return train if train.steps is None else train.model_copy(update={"epochs": 1.0})


def _train_arm(run: Run, recipe: Recipe, name: str, begin: Arm, pairs: str, *, control: str | None) -> None:
    is_control = name != recipe.name
    folder = run.pairs[recipe.name]
    read = (lambda: control_pairs(stages.load_pairs(run.root, folder))) if is_control else None
    manifest = stages.train_stage(
        run.root,
        name,
        start=begin.spec,
        start_hash=begin.hash,
        pairs=read or (lambda: stages.load_pairs(run.root, folder)),
        pairs_hash=pairs,
        objective=LIKELIHOOD if is_control else recipe.objective,
        settings=recipe.train,
        seed=run.config.seed,
    )
    run.note(f"train/{name}", manifest)
    spec = str(run.root / stages.TRAIN / name)
    role = "control" if is_control else "recipe"
    run.arms.append(Arm(name, spec, manifest["hash"], control=control, recipe=recipe.name, role=role))


@scorers_kept()
def evaluate(run: Run, examples: str) -> None:
    """eval/NAME for each arm; an arm that fails is no longer of the run."""
    settings = run.recipes[0].evaluation
    asked = {"judge": judge_of(run.roles)} if settings.facts == "judge" else {}
    for arm in run.arms:
        with run.attempt(arm.name) if arm.role in {"recipe", "control"} else contextlib.nullcontext():
            manifest = stages.evaluate_stage(
                run.root,
                arm.name,
                policy=arm.spec,
                inputs={"examples": examples, "model": arm.hash} | asked,
                settings=settings,
                seed=run.config.seed,
                synthetic=run.source.synthetic,
                roles=run.roles if asked else NOBODY,
            )
            run.note(f"eval/{arm.name}", manifest)
    run.arms = [arm for arm in run.arms if arm.name not in (run.failures or ())]
    names = {arm.name for arm in run.arms}
    for arm in run.arms:
        arm.control = arm.control if arm.control in names else None
