"""Every component that a plugin file registers, through its contract; the recipes beside it, through the self-check.

A component whose fields all have defaults is checked as it is; every form of it that a recipe beside the plugin uses
is checked too. A component with neither cannot be checked, which is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from medpref.errors import RecipeError
from medpref.plugin import load_plugin
from medpref.registry import REGISTRIES, Registry
from medpref.testing.components import check_component


class Checked(NamedTuple):
    """What was checked: a noun (or ``recipe``), a name, and how many forms."""

    noun: str
    name: str
    forms: int


def check_plugin(file: Path) -> list[Checked]:
    """What kept its promises; AssertionError names the first broken promise, RecipeError what cannot be checked."""
    shipped = {registry.noun: registry.classes() for registry in REGISTRIES}
    load_plugin(file)
    module = f"medpref_plugin_{file.stem}"
    recipes = _recipes(file)
    configs = [config for recipe in recipes.values() for config in _mappings(recipe)]
    done = []
    for registry in REGISTRIES:
        for kind, cls in registry.classes().items():
            if cls.__module__ != module:
                continue
            _refuse_shadow(registry, kind, shipped[registry.noun].get(kind), file=file)
            forms = _forms(registry, cls, kind, configs, file=file)
            for form in forms:
                check_component(form)
            done.append(Checked(registry.noun, kind, len(forms)))
    if not done:
        raise RecipeError(
            str(file), given="no component", expected="at least one, such as a class under @TERMS.add",
            todo="register it; `medpref new-method NAME` writes an example",
        )  # fmt: skip
    return done + _self_checked(recipes, {one.name for one in done})


def _recipes(file: Path) -> dict[Path, Any]:
    """What the YAML files beside a plugin hold."""
    held = {}
    for path in sorted(file.parent.glob("*.yaml")):
        try:
            held[path] = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            given = f"not YAML: {error}"
            raise RecipeError(str(path), given=given, expected="a mapping", todo="mend the file") from None
    return held


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping inside a value, outermost first."""
    if isinstance(value, Mapping):
        yield value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _mappings(part)


def _refuse_shadow(registry: Registry, kind: str, held: type[BaseModel] | None, *, file: Path) -> None:
    if held is not None and held.__module__.startswith("medpref."):
        todo = "choose another kind, or recipes would silently mean another component"
        given = f"a {registry.noun} of the shipped kind {kind!r}"
        raise RecipeError(str(file), given=given, expected="a kind of its own", todo=todo)


def _forms(
    registry: Registry, cls: type[BaseModel], kind: str, configs: list[Mapping[str, Any]], *, file: Path
) -> list[BaseModel]:
    """The component with its defaults, where it has them all, and as the recipes beside its file use it."""
    forms = [cls()] if not any(field.is_required() for field in cls.model_fields.values()) else []
    for config in configs:
        if config.get("kind") == kind:
            fields = {key: value for key, value in config.items() if key in cls.model_fields or key != "weight"}
            form = registry.parse(fields, where=f"a recipe beside {file.name}")
            if form not in forms:
                forms.append(form)
    if not forms:
        todo = f"use it in a recipe beside {file.name} (any .yaml file), or give its fields defaults"
        given = f"{registry.noun} {kind!r} has required fields and no recipe uses it"
        raise RecipeError(str(file), given=given, expected="a form of it to check", todo=todo)
    return forms


def _self_checked(recipes: Mapping[Path, Any], kinds: set[str]) -> list[Checked]:
    """The recipes that use a plugin's components, each through the strict self-check: no view is made and not read."""
    from medpref.check import check
    from medpref.recipe import load_recipe

    done = []
    for path, held in recipes.items():
        used = {config.get("kind") for config in _mappings(held)}
        if isinstance(held, Mapping) and "objective" in held and used & kinds:
            check(load_recipe(str(path)), strict=True)
            done.append(Checked("recipe", path.name, 1))
    return done
