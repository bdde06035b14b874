"""Methods as data: YAML files, overrides and profiles in; one frozen Recipe out. Loads no torch and no model.

A recipe answers four questions (what to mine and pair, what is preferred over what, which loss, how to train);
``extends`` names a parent whose mappings are merged key by key (lists are replaced).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from medpref.errors import RecipeError, nearest
from medpref.registry import build
from medpref.schema import Frozen, is_name


class Lora(Frozen):
    """A low-rank adapter on the language model's linear layers (PEFT's names)."""

    r: int = Field(default=16, gt=0)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | None = Field(default=None, description="regular expression; None = the family's default")
    rslora: bool = False
    dora: bool = False


class Train(Frozen):
    """How a model is trained. ``batch`` counts pairs per optimiser step, ``warmup`` is a share of all steps."""

    epochs: float = Field(default=1.0, gt=0)
    steps: int | None = Field(default=None, gt=0, description="overrides epochs")
    batch: int = Field(default=8, gt=0)
    learning_rate: float = Field(default=1e-6, gt=0)
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, ge=0)
    lora: Lora | None = Field(default=Lora(), description="null trains the weights themselves")
    freeze_tower: bool = True
    freeze_projector: bool = True
    max_tokens_per_batch: int = Field(default=16384, gt=0, description="trie nodes per micro-step")
    group_by_image: bool = True
    reference: Literal["cached", "online"] = "cached"
    checkpointing: Literal["auto", "none", "layer"] = Field(
        default="auto", description="layer: run each layer again in backward, to hold less; auto: if need be"
    )
    save_every: int = Field(default=50, gt=0, description="optimiser steps between checkpoints")


class Evaluation(Frozen):
    """What is evaluated: at most ``limit`` questions of a split, whole patients first, drawn by the run's seed."""

    split: Literal["train", "validation", "test"] = "test"
    limit: int | None = Field(default=None, gt=0)
    robustness: bool = Field(
        default=False, description="also accuracy as images degrade: reads each closed question 50 times more"
    )
    robustness_limit: int = Field(default=200, gt=0, description="closed questions that are read so, at most")
    attention: bool = Field(
        default=False, description="also attention to the regions, and maps of some wrong answers for the report"
    )

    facts: Literal["rules", "judge"] = Field(
        default="rules", description="who labels the facts of reports: the rules, or the model bound by --judge"
    )
    radeval: tuple[Literal["radgraph", "f1chexbert", "green", "ratescore", "bertscore"], ...] = Field(
        default=(), description="published metrics of reports, by the extra metrics"
    )

    def named(self) -> dict[str, Any]:
        """The settings as a stage's inputs: of what is switched off nothing is said, so older hashes stay."""
        off = {name for name in ("robustness", "attention", "radeval") if not getattr(self, name)}
        off |= {"facts"} if self.facts == "rules" else set()
        return self.model_dump(mode="json", exclude=off | ({"robustness_limit"} if "robustness" in off else set()))


Task = Literal["basic", "region", "compare"]


class Instructions(Frozen):
    """Unified instruction data (`curation.instruct`): what SFT reads, and what own replies and pairs are made of.

    ``basic``: the train questions. ``region``: a painted box is asked about. ``compare``: two images are.
    """

    tasks: tuple[Task, ...] = Field(default=("basic", "region", "compare"), min_length=1)
    rationale: Literal["first", "last"] | None = Field(
        default="first", description="where the answer stands in a rationale target; null: targets are answers alone"
    )
    size: int | None = Field(
        default=None, gt=0, description="at most so many, in equal shares; null: of no made task more than of basic"
    )
    mix: float = Field(default=0.5, ge=0, le=1, description="within a task: 1 is equal shares, 0 is in proportion")
    ordered: bool = Field(default=False, description="a patient's images stand in order of time: ask better or worse")


class Recipe(Frozen):
    """A method as data. ``pairs`` are builders, ``objective`` are terms; both are parsed by their registries."""

    name: str
    paper: str = ""
    summary: str = ""
    source_pairs: bool = Field(default=False, description="also train on the pairs that the source itself carries")
    pairs: tuple[Mapping[str, Any], ...] = ()
    objective: tuple[Mapping[str, Any], ...] = Field(min_length=1)
    train: Train = Train()
    sft: Train | None = Train(learning_rate=2e-5, batch=32, warmup=0.03)
    instructions: Instructions | None = Field(default=None, description="null: SFT reads the data set's own questions")
    evaluation: Evaluation = Evaluation()


def shipped(noun: str = "recipe") -> list[str]:
    """The names of the recipes (or grids) inside the package."""
    folder = resources.files("medpref") / f"{noun}s"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_recipe(name: str, *, overrides: Iterable[str] = (), policy: str = "", source: str = "") -> Recipe:
    """The recipe of a shipped name or a YAML file, with the policy's profile and ``key=value`` overrides applied.

    A policy ``tiny:...`` brings the profile ``tiny`` (step counts and learning rates for a 1.6 M-parameter model on
    two cores), which may say more for a kind of ``source`` (a spec such as ``pack:DIR``).
    """
    fields = merge(_read(name), profile_of(policy, source))
    for override in overrides:
        fields = set_key(fields, override, where=f"--set {override}")
    where = f"recipe {fields.get('name', name)}"
    if not is_name(str(fields.get("name", ""))):
        raise RecipeError(where, given=f"name {fields.get('name')!r}", expected="a-z 0-9 _ . -", todo="set name")
    parts: dict[str, type[Frozen]] = {
        "train": Train,
        "sft": Train,
        "instructions": Instructions,
        "evaluation": Evaluation,
    }
    for key, cls in parts.items():
        if isinstance(fields.get(key), Mapping):
            part = dict(fields[key])
            if isinstance(part.get("lora"), Mapping):
                part["lora"] = build(Lora, part["lora"], where=f"{where}, {key}.lora")
            fields[key] = build(cls, part, where=f"{where}, {key}")
    recipe: Recipe = build(Recipe, fields, where=where)
    return recipe


def profile_of(policy: str, source: str = "") -> dict[str, Any]:
    """The settings a kind of policy (on a kind of source) brings to every recipe, as recipe keys; or nothing."""
    kind = policy.partition(":")[0]
    file = resources.files("medpref") / "recipes" / "profiles" / f"{kind}.yaml"
    if not (kind and file.is_file()):
        return {}
    profile = dict(yaml.safe_load(file.read_text(encoding="utf-8")))
    special = profile.pop("sources", {}).get(source.partition(":")[0], {})
    return merge(profile, special)


def _read(name: str) -> dict[str, Any]:
    fields, _ = read_mapping(name, "recipe")
    parent = fields.pop("extends", None)
    return merge(_read(parent), fields) if parent else fields


def read_mapping(name: str, noun: str) -> tuple[dict[str, Any], Path | None]:
    """The keys of a YAML file, or of the shipped recipe or grid (``noun``) of a name; and the file's folder.

    RecipeError where there is none of that name, or where it is no YAML or no mapping.
    """
    folder, where = None, f"{noun} {name}"
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise RecipeError(name, given="no such file", expected=f"a {noun} in YAML", todo="check the path")
        text, folder, where = path.read_text(encoding="utf-8"), path.parent, name
    else:
        file = resources.files("medpref") / f"{noun}s" / f"{name}.yaml"
        if not file.is_file():
            expected, known = f"a shipped {noun} or a file", nearest(name, shipped(noun))
            raise RecipeError(f"{noun} {name!r}", given="unknown name", expected=expected, todo=known)
        text = file.read_text(encoding="utf-8")
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(where, given=f"not YAML: {error}", expected="a mapping", todo="mend the file") from None
    if not isinstance(fields, dict):
        raise RecipeError(where, given=type(fields).__name__, expected="a mapping of keys", todo="mend the file")
    return fields, folder


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``under`` with the keys of ``over``; mappings are merged, everything else is replaced.

    >>> merge({"train": {"batch": 8, "epochs": 1}}, {"train": {"batch": 2}})
    {'train': {'batch': 2, 'epochs': 1}}
    """
    merged = dict(under)
    for key, value in over.items():
        held = merged.get(key)
        both = isinstance(held, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(held, value) if both else value  # type: ignore[arg-type]
    return merged


def set_key(fields: Mapping[str, Any], override: str, *, where: str) -> dict[str, Any]:
    """``fields`` with one dotted ``key=value`` set; the value is YAML, a number indexes a list.

    >>> set_key({"objective": [{"beta": 0.1}]}, "objective.0.beta=0.2", where="")
    {'objective': [{'beta': 0.2}]}
    """
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise RecipeError(where, given=repr(override), expected="key=value", todo="write for example train.batch=4")
    return dict(_set(fields, dotted.split("."), yaml_value(text), where=where))


def yaml_value(text: str) -> Any:
    """A value as YAML reads it, and numbers such as 1e-6 (which YAML 1.1 reads as text)."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _set(held: Any, keys: list[str], value: Any, *, where: str) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(held, (list, tuple)):
        if not key.isdigit() or int(key) >= len(held):
            raise RecipeError(where, given=f"index {key!r}", expected=f"0 to {len(held) - 1}", todo="count from 0")
        return [_set(item, rest, value, where=where) if i == int(key) else item for i, item in enumerate(held)]
    if held is not None and not isinstance(held, Mapping):
        raise RecipeError(where, given=f"{key!r} below a plain value", expected="a mapping", todo="shorten the key")
    inner = dict(held or {})
    inner[key] = _set(inner.get(key), rest, value, where=where)
    return inner
