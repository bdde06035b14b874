"""A recipe (or several) carried out in a folder, from data to report; finished stages are skipped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import medpref
from medpref import stages, store
from medpref.errors import RecipeError
from medpref.recipe import Recipe, load_recipe, set_key
from medpref.registry import SOURCES
from medpref.schema import Frozen

DEFAULT_RECIPES = ("mmedpo", "fire_mpo")
STEPS = ("examples", "sft", "curate", "train", "evaluate", "report")
OWN_REPLY_WRITERS = {"correct", "sample", "rationale"}
LIKELIHOOD = ({"kind": "likelihood", "branch": "clean/chosen"},)


class RunConfig(Frozen):
    """What was asked for: enough to carry the run out again. Stored as ``run.json``."""

    recipes: tuple[str, ...]
    source: str
    policy: str
    seed: int = 0
    overrides: tuple[str, ...] = ()
    control: bool = True
    strict: bool = False


@dataclass
class Arm:
    """One model of the run: how it is named, where it lies, and the hash of what made it."""

    name: str
    spec: str
    hash: str
    control: str | None = None
    recipe: str = ""
    role: str = ""


@dataclass
class Run:
    """A run under way: its configuration with every component built, the arms made so far, seconds a stage."""

    config: RunConfig
    root: Path
    recipes: list[Recipe]
    checked: list[Any]
    source: Any
    say: Callable[[str], None]
    arms: list[Arm] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def has_pairs(self) -> bool:
        return hasattr(self.source, "pairs")

    def note(self, name: str, manifest: stages.Manifest) -> stages.Manifest:
        """Remember a stage's seconds and say what it did."""
        self.seconds[name] = float(manifest["seconds"])
        counts = ", ".join(f"{key} {value}" for key, value in manifest["counts"].items() if not isinstance(value, dict))
        done = "done before" if manifest["skipped"] else f"{manifest['seconds']:.1f} s"
        self.say(f"{name:<24} {done:>12}   {counts}")
        return manifest


def parse_source(spec: str, overrides: Sequence[str] = ()) -> Any:
    """The source of ``kind``, ``kind:path`` or ``kind:key=value,key=value`` (and ``source.key=value`` overrides)."""
    kind, _, rest = spec.partition(":")
    fields: dict[str, Any] = {"kind": kind}
    for part in filter(None, rest.split(",")):
        if "=" in part:
            fields = set_key(fields, part, where=f"--source {spec}")
        else:
            known = SOURCES.classes().get(kind)
            names = known.model_fields if known else {}
            fields[next((name for name in ("folder", "file") if name in names), "folder")] = part
    for override in overrides:
        fields = set_key(fields, override, where=f"--set source.{override}")
    return SOURCES.parse(fields, where=f"--source {spec}")


def prepare(config: RunConfig, root: Path, say: Callable[[str], None]) -> Run:
    """The run with every recipe loaded and checked; nothing is written and no model is loaded."""
    from medpref.check import check
    from medpref.models.fingerprint import require_policy

    to_source = [text.removeprefix("source.") for text in config.overrides if text.startswith("source.")]
    to_recipe = [text for text in config.overrides if not text.startswith("source.")]
    recipes = [
        load_recipe(name, overrides=to_recipe, policy=config.policy, source=config.source) for name in config.recipes
    ]
    source = parse_source(config.source, to_source)
    require_policy(config.policy)
    run = Run(config, root, recipes, [], source, say)
    for recipe in recipes:
        checked = check(recipe, source_has_pairs=run.has_pairs, strict=config.strict)
        run.checked.append(checked)
        for warning in checked.warnings:
            say(f"warning: {warning}")
    if len({store.digest(recipe.sft) for recipe in recipes}) > 1:
        raise RecipeError(
            "run", given="recipes with different sft settings", expected="one SFT", todo="use --set sft..."
        )
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        raise RecipeError("run", given=f"recipes {names}", expected="distinct names", todo="name each recipe once")
    return run


def carry_out(config: RunConfig, root: Path, *, until: str = "report", say: Callable[[str], None] = print) -> Run:
    """Carry out every stage up to and including ``until``; returns the run. Finished stages are skipped."""
    root = root.resolve()
    run = prepare(config, root, say)
    manifest = run.note("examples", stages.examples_stage(root, run.source, seed=config.seed))
    store.write_json(root / "run.json", {**config.model_dump(mode="json"), "medpref": medpref.__version__})
    last = STEPS.index(until)
    if last >= STEPS.index("sft"):
        _start(run, manifest["hash"])
    if last >= STEPS.index("curate"):
        curated = _curate(run, manifest["hash"])
    if last >= STEPS.index("train"):
        _align(run, curated)
    if last >= STEPS.index("evaluate"):
        _evaluate(run, manifest["hash"])
    if last >= STEPS.index("report"):
        _report(run)
    return run


def _start(run: Run, examples: str) -> None:
    """The base, and the SFT model that alignment starts from."""
    from medpref.models.fingerprint import fingerprint

    base = Arm("base", run.config.policy, fingerprint(run.config.policy), role="base")
    run.arms.append(base)
    sft = run.recipes[0].sft
    if sft is None:
        return
    manifest = stages.train_stage(
        run.root,
        "sft",
        start=base.spec,
        start_hash=base.hash,
        pairs=lambda: stages.sft_pairs(stages.load_examples(run.root)),
        pairs_hash=examples,
        objective=LIKELIHOOD,
        settings=sft,
        seed=run.config.seed,
    )
    run.note("train/sft", manifest)
    run.arms.append(Arm("sft", str(run.root / stages.TRAIN / "sft"), manifest["hash"], role="sft"))


def _curate(run: Run, examples: str) -> dict[str, str]:
    """pairs/NAME for each recipe that makes pairs; returns their hashes by recipe name."""
    start = run.arms[-1]
    aligned = [(recipe, checked) for recipe, checked in zip(run.recipes, run.checked, strict=True) if _aligns(recipe)]
    inputs = {"examples": examples}
    if any(_reads_own(builder) for _, checked in aligned for builder in checked.builders):
        replies = stages.replies_stage(run.root, policy=start.spec, policy_hash=start.hash, seed=run.config.seed)
        inputs["replies"] = run.note("replies", replies)["hash"]
    hashes = {}
    for recipe, _ in aligned:
        wanted = recipe.source_pairs and run.has_pairs
        manifest = stages.pairs_stage(
            run.root,
            recipe.name,
            builders=recipe.pairs,
            imported=lambda examples, wanted=wanted: list(run.source.pairs(examples)) if wanted else [],
            imported_hash=examples if wanted else "",
            inputs=inputs,
            seed=run.config.seed,
        )
        hashes[recipe.name] = run.note(f"pairs/{recipe.name}", manifest)["hash"]
    return hashes


def _reads_own(builder: Any) -> bool:
    """Whether a builder needs the policy's own replies: to edit them, to reject them, or to mine by them."""
    writers = (builder.chosen, builder.rejected)
    return builder.mine is not None or any(w is not None and w.kind in OWN_REPLY_WRITERS for w in writers)


def _aligns(recipe: Recipe) -> bool:
    return bool(recipe.pairs) or recipe.source_pairs


def _align(run: Run, curated: dict[str, str]) -> None:
    """train/NAME for each recipe, and the matched SFT control: same pairs, same steps, likelihood only."""
    start = run.arms[-1]
    aligned = [recipe for recipe in run.recipes if recipe.name in curated]
    controls: dict[str, str] = {}
    for recipe in aligned:
        control = None
        if run.config.control:
            key = store.digest([curated[recipe.name], recipe.train])
            control = controls.setdefault(key, "sft_control" if len(aligned) == 1 else f"{recipe.name}_sft_control")
        _train_arm(run, recipe, recipe.name, start, curated[recipe.name], control=control)
    for recipe in aligned:
        for key, name in controls.items():
            if key == store.digest([curated[recipe.name], recipe.train]) and name not in [a.name for a in run.arms]:
                _train_arm(run, recipe, name, start, curated[recipe.name], control=None)


def _train_arm(run: Run, recipe: Recipe, name: str, start: Arm, pairs: str, *, control: str | None) -> None:
    is_control = name != recipe.name
    read = (lambda: stages.control_pairs(stages.load_pairs(run.root, recipe.name))) if is_control else None
    manifest = stages.train_stage(
        run.root,
        name,
        start=start.spec,
        start_hash=start.hash,
        pairs=read or (lambda: stages.load_pairs(run.root, recipe.name)),
        pairs_hash=pairs,
        objective=LIKELIHOOD if is_control else recipe.objective,
        settings=recipe.train,
        seed=run.config.seed,
    )
    run.note(f"train/{name}", manifest)
    spec = str(run.root / stages.TRAIN / name)
    role = "control" if is_control else "recipe"
    run.arms.append(Arm(name, spec, manifest["hash"], control=control, recipe=recipe.name, role=role))


def _evaluate(run: Run, examples: str) -> None:
    for arm in run.arms:
        manifest = stages.evaluate_stage(
            run.root,
            arm.name,
            policy=arm.spec,
            inputs={"examples": examples, "model": arm.hash},
            settings=run.recipes[0].evaluation,
            seed=run.config.seed,
            synthetic=run.source.synthetic,
        )
        run.note(f"eval/{arm.name}", manifest)


def _report(run: Run) -> None:
    from medpref.summary import compare_stage, summarise

    compared = compare_stage(run)
    run.note("compare", compared)
    with contextlib.suppress(KeyError):
        run.seconds.pop("report")
    summarise(run)
    manifest = stages.report_stage(run.root, inputs={"compare": compared["hash"]}, arms=[arm.name for arm in run.arms])
    run.note("report", manifest)
    summarise(run)
