"""The evidence check: a corrupt view stays only where it makes the chosen reply less likely under the reference.

Hiding what the answer does not rest on leaves nothing to prefer. Curation knows no engine: a reader gives the
log-probabilities (``medpref.evidence`` binds one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medpref import store
from medpref.curation.card import spread
from medpref.errors import RecipeError
from medpref.progress import track
from medpref.registry import build
from medpref.schema import CHOSEN, CLEAN, CORRUPT, REJECTED, Branch, Frozen, ImageRef, PreferencePair

CHUNK = 64
Row = dict[str, Any]
Read = Callable[[Sequence[PreferencePair]], Sequence[Mapping[Branch, float]]]
"""Log p of every branch of each pair under the reference: nats, summed over the reply's tokens, end token included."""


class Drop(Frozen):
    """The corrupt view stays where ``log p(chosen | clean) - log p(chosen | corrupt)`` is over ``nats``."""

    kind: Literal["drop"] = "drop"
    nats: float = Field(default=0.1, ge=0)


def parse_evidence(config: Any, where: str) -> Drop:
    """The check that a builder's ``evidence`` describes: a number of nats, or ``{kind: drop, nats: 0.1}``."""
    number = isinstance(config, int | float) and not isinstance(config, bool)
    fields = {"nats": config} if number else {"kind": config} if isinstance(config, str) else config
    if not isinstance(fields, Mapping):
        todo = "write evidence: 0.1, or evidence: {kind: drop, nats: 0.1}"
        raise RecipeError(where, given=repr(config), expected="nats, or a mapping", todo=todo)
    check: Drop = build(Drop, fields, where=where)
    return check


def located(read: Read | None, out: Path, prefix: str) -> Read | None:
    """The reader, given images below ``prefix`` where they lie now: in ``out``, which the stage has yet to rename."""
    if read is None:
        return None

    def here(ref: ImageRef) -> ImageRef:
        if not ref.path.startswith(f"{prefix}/"):
            return ref
        return ref.model_copy(update={"path": str(out.resolve() / ref.path.removeprefix(f"{prefix}/"))})

    def reading(pairs: Sequence[PreferencePair]) -> Sequence[Mapping[Branch, float]]:
        moved = [{view: tuple(map(here, images)) for view, images in pair.views.items()} for pair in pairs]
        return read([pair.model_copy(update={"views": views}) for pair, views in zip(pairs, moved, strict=True)])

    return reading


def sift(
    rows: Sequence[Row], checks: Mapping[str, Drop], journal: store.Journal, *, read: Read | None
) -> tuple[list[Row], dict[str, Any]]:
    """The rows with the corrupt views that show no evidence taken off, and what the card says of each builder's.

    ``checks`` are by builder. A pair that has one reply alone is dropped with its view. RecipeError without a reader.
    """
    asked = [row for row in rows if "pair" in row and row["builder"] in checks and CORRUPT in row["pair"]["views"]]
    if asked and read is None:
        todo = "pass a reader, or leave evidence out"
        raise RecipeError("pairs", given="an evidence check", expected="a model to ask", todo=todo)
    drops = dict(zip(map(id, asked), _drops(asked, journal, read), strict=True)) if read is not None else {}
    sifted = [_judged(row, checks[row["builder"]], drops[id(row)]) if id(row) in drops else row for row in rows]
    told = {name: [drops[id(row)] for row in asked if row["builder"] == name] for name in checks}
    return sifted, {name: _summary(checks[name], values) for name, values in told.items()}


def _drops(rows: Sequence[Row], journal: store.Journal, read: Read) -> Iterator[float]:
    """The drop of each row's pair, in their order; journalled by chunks that are the same after a kill."""
    for start in track(range(0, len(rows), CHUNK), "evidence") if rows else ():
        chunk = rows[start : start + CHUNK]
        yield from journal.get(f"evidence/{start}", lambda c=chunk: _read(c, read))  # type: ignore[misc]


def _read(rows: Sequence[Row], read: Read) -> list[float]:
    pairs = [PreferencePair.model_validate(row["pair"]) for row in rows]
    seen = [
        pair.model_copy(
            update={
                "views": {view: pair.views[view] for view in (CLEAN, CORRUPT)},
                "replies": {CHOSEN: pair.replies[CHOSEN]},
            }
        )
        for pair in pairs
    ]
    return [said[Branch(CLEAN, CHOSEN)] - said[Branch(CORRUPT, CHOSEN)] for said in read(seen)]


def _judged(row: Row, check: Drop, drop: float) -> Row:
    """The row with its drop noted; without its corrupt view, or dropped, where the drop is too small."""
    pair, told = row["pair"], {"evidence_drop": round(drop, 4)}
    if drop > check.nats:
        return {**row, "pair": {**pair, "provenance": {**pair["provenance"], **told}}}
    if REJECTED not in pair["replies"]:
        reason = f"the corrupt view lowers log p of the chosen reply by {check.nats:g} nats or less"
        return {
            "dropped": {"example": pair["example"], "builder": row["builder"], "step": "evidence", "reason": reason}
            | told
        }
    kept = {key: value for key, value in pair["provenance"].items() if key != "corruption"}
    kept |= {**told, "no_corrupt_view": f"evidence: drop {drop:.4g} <= {check.nats:g} nats"}
    views = {name: images for name, images in pair["views"].items() if name != CORRUPT}
    return {**row, "pair": {**pair, "views": views, "provenance": kept}}


def _summary(check: Drop, drops: Sequence[float]) -> dict[str, Any]:
    kept = sum(drop > check.nats for drop in drops)
    share = round(kept / len(drops), 4) if drops else None
    return {"nats": check.nats, "asked": len(drops), "kept": kept, "share": share, "drop": spread(drops)}
