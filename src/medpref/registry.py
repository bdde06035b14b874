"""Components by ``kind``: a recipe names them, a plugin adds to them. Imports no torch.

A component is a frozen value whose fields are its configuration and whose ``kind`` is a Literal with a default::

    @WRITERS.add
    class Reference(Frozen):
        kind: Literal["reference"] = "reference"

``TERMS.parse({"kind": "margin", "beta": 0.1}, where="recipe dpo, objective[0]")`` builds one.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from medpref.errors import RecipeError, nearest

Kind = TypeVar("Kind", bound=type[BaseModel])


class Registry:
    """The components of one noun; ``package`` is imported on first use so that ``import medpref`` stays light."""

    def __init__(self, noun: str, package: str) -> None:
        self.noun, self.package = noun, package
        self._classes: dict[str, type[BaseModel]] = {}

    def add(self, cls: Kind) -> Kind:
        """Register a component class under its ``kind``; two classes of one kind are an error."""
        fields: Mapping[str, FieldInfo] = cls.__dict__["__pydantic_fields__"]
        kind = fields["kind"].default
        held = self._classes.get(kind)
        if held is not None and held.__qualname__ != cls.__qualname__:
            raise RecipeError(
                f"{self.noun} {kind!r}",
                given=f"a second class, {cls.__module__}.{cls.__qualname__}",
                expected="one class a kind",
                todo="choose another kind",
            )
        self._classes[kind] = cls
        return cls

    def classes(self) -> dict[str, type[BaseModel]]:
        """Every registered class by kind, in the order of their names."""
        importlib.import_module(self.package)
        return dict(sorted(self._classes.items()))

    def parse(self, config: Mapping[str, Any] | str, *, where: str) -> Any:
        """The component a mapping (or a bare kind) describes; RecipeError names the key and the nearest known one."""
        fields = {"kind": config} if isinstance(config, str) else dict(config)
        known = self.classes()
        kind = fields.get("kind")
        if not isinstance(kind, str) or kind not in known:
            raise RecipeError(
                where,
                given=f"{self.noun} kind {kind!r}",
                expected=f"a registered {self.noun}",
                todo=nearest(str(kind), known),
            )
        return build(known[kind], fields, where=f"{where} ({self.noun} {kind!r})")

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of all components of this noun (one of, by kind)."""
        return {"oneOf": [TypeAdapter(cls).json_schema() for cls in self.classes().values()]}


def build(cls: type[BaseModel], fields: Mapping[str, Any], *, where: str) -> Any:
    """``cls(**fields)``, with pydantic's complaint turned into one line of ours."""
    unknown = [key for key in fields if key not in cls.model_fields and not _is_alias(cls, key)]
    if unknown:
        raise RecipeError(
            where,
            given=f"unknown key {unknown[0]!r}",
            expected=f"keys of {cls.__name__}",
            todo=nearest(unknown[0], cls.model_fields),
        )
    try:
        return cls.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "its fields together"
        given = f"{key} = {_short(first.get('input'))}"
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(where, given=given, expected=message, todo=f"correct {key}") from error


def _is_alias(cls: type[BaseModel], key: str) -> bool:
    return any(field.alias == key for field in cls.model_fields.values())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


TERMS = Registry("term", "medpref.objectives")
SOURCES = Registry("source", "medpref.sources")
WRITERS = Registry("writer", "medpref.curation")
MINERS = Registry("miner", "medpref.curation")
SCREENS = Registry("screen", "medpref.curation")
REWEIGHERS = Registry("reweigher", "medpref.curation")
LOCALIZERS = Registry("localizer", "medpref.curation")
CORRUPTIONS = Registry("corruption", "medpref.imaging")
JUDGES = Registry("judge", "medpref.judging")
REGISTRIES = (TERMS, SOURCES, WRITERS, MINERS, SCREENS, REWEIGHERS, LOCALIZERS, CORRUPTIONS, JUDGES)
