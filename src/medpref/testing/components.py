"""The contract of every component: ``check_component(component)`` raises AssertionError with the promise it breaks.

Every component is a frozen value that is its own configuration; beyond that each noun has promises of its own. They
are checked on the small studies of `studies.py`, in a folder of its own. A component that reads files or a service must
find them: this suite provides none.
"""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from medpref.errors import RecipeError
from medpref.registry import REGISTRIES, Registry
from medpref.testing.images import check_corruption, check_localizer
from medpref.testing.promise import promise
from medpref.testing.studies import Studies, make_studies
from medpref.testing.texts import check_judge, check_miner, check_reweigher, check_screen, check_writer

VERBS: dict[str, Callable[[Any, Studies], None]] = {
    "corruption": check_corruption,
    "localizer": check_localizer,
    "writer": check_writer,
    "judge": check_judge,
    "miner": check_miner,
    "screen": check_screen,
    "reweigher": check_reweigher,
}


def check_component(component: BaseModel) -> None:
    """Nothing, if a registered component keeps its promises; AssertionError naming the first one it breaks.

    >>> from medpref.imaging.corrupt_fill import Blackout
    >>> check_component(Blackout())
    """
    registry = registry_of(type(component))
    kind = type(component).model_fields["kind"].default
    try:
        check_value(component)
        if registry.noun in VERBS:
            with tempfile.TemporaryDirectory() as folder:
                VERBS[registry.noun](component, make_studies(Path(folder)))
    except AssertionError as broken:
        raise AssertionError(f"{registry.noun} {kind!r} {broken}") from None
    if registry.noun == "term":
        _check_term(component)


def registry_of(cls: type[BaseModel]) -> Registry:
    """The registry a component class stands in; RecipeError where it stands in none."""
    for registry in REGISTRIES:
        if cls in registry.classes().values():
            return registry
    raise RecipeError(
        f"class {cls.__qualname__}", given="not registered", expected="a component",
        todo=f"decorate it, for example with @{REGISTRIES[0].noun.upper()}S.add",
    )  # fmt: skip


def check_value(component: BaseModel) -> None:
    """A component is frozen, says what it is, and is equal after a round trip as data."""
    cls = type(component)
    promise(bool(cls.model_config.get("frozen")), "is not frozen; derive it from medpref.schema.Frozen")
    promise(cls.model_config.get("extra") == "forbid", "accepts unknown keys; derive it from medpref.schema.Frozen")
    promise(bool(inspect.cleandoc(cls.__dict__.get("__doc__") or "")), "has no docstring of its own")
    field = cls.model_fields["kind"]
    promise(get_args(field.annotation) == (field.default,), "has a kind that is not a Literal of its own name")
    data = json.loads(json.dumps(component.model_dump(mode="json"), allow_nan=False))
    promise(cls.model_validate(data) == component, "is not equal after a round trip as data")
    promise(registry_of(cls).classes()[field.default] is cls, "is not the class that its kind stands for")
    promise("kind" in cls.model_json_schema()["properties"], "has no JSON Schema")


def _check_term(term: Any) -> None:
    from medpref.testing.terms import check_term

    check_term(term)
