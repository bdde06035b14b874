"""One builder of a recipe, parsed: who writes what, where the image is corrupted, what a pair weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medpref.curation.evidence import Drop, parse_evidence
from medpref.errors import RecipeError, nearest
from medpref.registry import CORRUPTIONS, JUDGES, LOCALIZERS, MINERS, REWEIGHERS, SCREENS, WRITERS
from medpref.schema import CHOSEN, CLEAN, CORRUPT, REJECTED, is_name

KEYS = (
    "name", "chosen", "rejected", "localize", "corrupt", "mine", "judge", "reweigh", "screens", "limit", "kinds",
    "evidence",
)  # fmt: skip


@dataclass(frozen=True)
class Builder:
    """How one set of pairs is made of train examples.

    ``limit`` counts pairs, before the evidence check and the screens; ``kinds`` are question kinds.
    """

    name: str
    config: Mapping[str, Any]
    chosen: Any
    rejected: Any = None
    localize: Any = None
    corrupt: Any = None
    mine: Any = None
    judge: Any = None
    reweigh: Any = None
    screens: tuple[Any, ...] = ()
    limit: int | None = None
    kinds: tuple[str, ...] | None = None
    evidence: Drop | None = None

    @property
    def views(self) -> tuple[str, ...]:
        """The views its pairs may have (an example without a region has no corrupt one)."""
        return (CLEAN, CORRUPT) if self.corrupt is not None else (CLEAN,)

    @property
    def replies(self) -> tuple[str, ...]:
        """The replies its pairs have."""
        return (CHOSEN, REJECTED) if self.rejected is not None or self.chosen.both else (CHOSEN,)


def parse_builder(config: Mapping[str, Any], where: str) -> Builder:
    """The builder a mapping describes; RecipeError names the key that is wrong and what to do."""
    for key in config:
        if key not in KEYS:
            raise RecipeError(
                where, given=f"unknown key {key!r}", expected="keys of a builder", todo=nearest(key, KEYS)
            )
    if config.get("chosen") is None:
        raise RecipeError(
            where, given="no 'chosen'", expected="a writer", todo="add for example chosen: {kind: reference}"
        )
    fields = {
        key: registry.parse(config[key], where=f"{where}.{key}")
        for key, registry in _ROLES.items()
        if config.get(key) is not None
    }
    if config.get("evidence") is not None:
        fields["evidence"] = parse_evidence(config["evidence"], f"{where}.evidence")
    screens = tuple(SCREENS.parse(one, where=f"{where}.screens") for one in config.get("screens") or ())
    kinds = tuple(map(str, config["kinds"])) if config.get("kinds") else None
    name = _name(config, fields, where)
    builder = Builder(name, dict(config), **fields, screens=screens, limit=_limit(config, where), kinds=kinds)
    if builder.replies == (CHOSEN,) and builder.views == (CLEAN,):
        todo = "add 'rejected' or 'corrupt'"
        raise RecipeError(where, given="one reply and one view", expected="something to prefer it over", todo=todo)
    for key in ("localize", "evidence"):
        if getattr(builder, key) is not None and builder.corrupt is None:
            given = f"{key!r} without 'corrupt'"
            raise RecipeError(where, given=given, expected="both or none", todo="add 'corrupt'")
    return builder


_ROLES = {
    "chosen": WRITERS,
    "rejected": WRITERS,
    "localize": LOCALIZERS,
    "corrupt": CORRUPTIONS,
    "mine": MINERS,
    "judge": JUDGES,
    "reweigh": REWEIGHERS,
}


def _name(config: Mapping[str, Any], fields: Mapping[str, Any], where: str) -> str:
    if config.get("name") is not None:
        name = str(config["name"])
        if not is_name(name):
            raise RecipeError(where, given=f"name {name!r}", expected="a-z 0-9 _ . -", todo="rename the builder")
        return name
    parts = [fields[key].kind for key in ("chosen", "rejected", "corrupt") if key in fields]
    return "-".join(parts)


def _limit(config: Mapping[str, Any], where: str) -> int | None:
    limit = config.get("limit")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0):
        raise RecipeError(
            where, given=f"limit {limit!r}", expected="a number of pairs", todo="write a positive integer"
        )
    return limit
