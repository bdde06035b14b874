"""A recipe (or several) carried out in a folder, from data to report; finished stages are skipped."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

import medpref
from medpref import stages, store
from medpref.arms import Arm, align, curate, evaluate, start
from medpref.errors import MedprefError, RecipeError
from medpref.models.chat import NOBODY, Roles
from medpref.recipe import Recipe, load_recipe, set_key
from medpref.registry import SOURCES
from medpref.schema import Frozen

DEFAULT_RECIPES = ("mmedpo", "fire_mpo")
STEPS = ("examples", "sft", "curate", "train", "evaluate", "report")
DIGEST = re.compile(r"[0-9a-f]{64}")
RESERVED = {"base", "comparisons"}
SURVIVED = (MedprefError, ArithmeticError, MemoryError, OSError, RuntimeError, ValueError)


class Variant(Frozen):
    """A recipe (shipped name or file) with overrides of its own, run under another name."""

    recipe: str
    overrides: tuple[str, ...] = ()


class RunConfig(Frozen):
    """What was asked for: enough to carry the run out again. Stored as ``run.json``.

    ``recipes`` are shipped names or files, or names of ``variants``; ``overrides`` are of all of them. ``judge`` names
    the models that recipes may ask (``roles``), ``prompts`` a folder of the user's own prompts for them.
    """

    recipes: tuple[str, ...]
    variants: Mapping[str, Variant] = Field(default_factory=dict)
    source: str
    policy: str
    seed: int = 0
    overrides: tuple[str, ...] = ()
    control: bool = True
    strict: bool = False
    judge: tuple[str, ...] = ()
    service_is_mine: bool = False
    prompts: str = ""
    chat_cache: str = ""


@dataclass
class Run:
    """A run under way: its configuration with every component built, the arms made so far, seconds a stage.

    ``pairs`` says in which folder of ``pairs/`` a recipe's pairs lie: recipes with equal builders share one.
    ``failures`` takes the one-line error of each recipe that failed; None = the first failure ends the run.
    ``roles`` are the language models bound by ``--judge``. ``instructions`` is the hash of the stage of that name.
    """

    config: RunConfig
    root: Path
    recipes: list[Recipe]
    checked: list[Any]
    source: Any
    say: Callable[[str], None]
    arms: list[Arm] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    instructions: str = ""
    failures: dict[str, str] | None = None
    roles: Roles = NOBODY

    @contextlib.contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Work for one arm: where failures are kept, what data or the machine do to it ends this arm alone."""
        try:
            yield
        except SURVIVED as error:
            if self.failures is None:
                raise
            self.failures[name] = one_line(error)
            self.say(f"{name:<24} {'failed':>12}   {self.failures[name]}")

    @property
    def has_pairs(self) -> bool:
        return hasattr(self.source, "pairs")

    def note(self, name: str, manifest: stages.Manifest) -> stages.Manifest:
        """Remember a stage's seconds and say what it did."""
        self.seconds[name] = float(manifest["seconds"])
        counts = ", ".join(f"{key} {value}" for key, value in manifest["counts"].items() if _is_told(value))
        done = "done before" if manifest["skipped"] else f"{manifest['seconds']:.1f} s"
        self.say(f"{name:<24} {done:>12}   {counts}")
        return manifest


def _is_told(count: Any) -> bool:
    """Whether a stage's line says it: numbers and words, but no digest (64 hexadecimal digits) and nothing nested."""
    return not isinstance(count, dict) and not (isinstance(count, str) and DIGEST.fullmatch(count))


def one_line(error: BaseException) -> str:
    """An error in one line: a MedprefError's own, else its class and message."""
    said = " ".join(str(error).split())
    return said if isinstance(error, MedprefError) else f"{type(error).__name__}: {said}"


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
    from medpref.curation.localized import require_models
    from medpref.evaluation.clinical import require_radeval
    from medpref.models.fingerprint import require_policy
    from medpref.roles import bind_roles

    to_source = [text.removeprefix("source.") for text in config.overrides if text.startswith("source.")]
    to_recipe = [text for text in config.overrides if not text.startswith(("source.", "judge."))]
    recipes = [_recipe(config, name, to_recipe) for name in config.recipes]
    source = parse_source(config.source, to_source)
    require_policy(config.policy)
    if any(recipe.evaluation.radeval for recipe in recipes):
        require_radeval()
    run = Run(config, root, recipes, [], source, say, roles=bind_roles(config, root, recipes))
    for recipe in recipes:
        checked = check(recipe, source_has_pairs=run.has_pairs, strict=config.strict)
        require_models(recipe.pairs)
        run.checked.append(checked)
        for warning in checked.warnings:
            say(f"warning: {warning}")
    for key in ("sft", "instructions", "evaluation"):
        if len({store.digest(getattr(recipe, key)) for recipe in recipes}) > 1:
            given = f"recipes with different {key} settings"
            raise RecipeError("run", given=given, expected="the same for all", todo=f"use --set {key}.KEY=VALUE")
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names) or RESERVED & set(names):
        expected = f"distinct names, none of {', '.join(sorted(RESERVED))}"
        raise RecipeError("run", given=f"recipes {names}", expected=expected, todo="name each recipe once")
    return run


def _recipe(config: RunConfig, name: str, overrides: Sequence[str]) -> Recipe:
    variant = config.variants.get(name)
    own = (*variant.overrides, f"name={name}") if variant else ()
    return load_recipe(
        variant.recipe if variant else name,
        overrides=[*overrides, *own],
        policy=config.policy,
        source=config.source,
    )


def carry_out(
    config: RunConfig,
    root: Path,
    *,
    until: str = "report",
    say: Callable[[str], None] = print,
    failures: dict[str, str] | None = None,
) -> Run:
    """Carry out every stage up to and including ``until``; returns the run. Finished stages are skipped.

    With ``failures`` (name of the arm to its error, filled in) a recipe that fails is left out and the others go on.
    """
    root = root.resolve()
    run = prepare(config, root, say)
    run.failures = failures
    manifest = run.note("examples", stages.examples_stage(root, run.source, seed=config.seed))
    if run.roles.chats:
        from medpref.roles import refuse_outside

        refuse_outside(run.roles, stages.load_examples(root))
    store.write_json(root / "run.json", {**config.model_dump(mode="json"), "medpref": medpref.__version__})
    last = STEPS.index(until)
    if last >= STEPS.index("sft"):
        start(run, manifest["hash"])
    if last >= STEPS.index("curate"):
        curated = curate(run, manifest["hash"])
    if last >= STEPS.index("train"):
        align(run, curated)
    if last >= STEPS.index("evaluate"):
        evaluate(run, manifest["hash"])
    if last >= STEPS.index("report"):
        _report(run)
        shutil.rmtree(root / store.CACHE, ignore_errors=True)
    return run


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
