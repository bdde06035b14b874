"""From train examples to pairs on disk: builder by builder, journalled example by example.

A kill at any moment loses at most the example in work; the bytes of the finished files do not depend on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import medpref
from medpref import store
from medpref.curation.assemble import Dropped, assemble
from medpref.curation.builder import Builder, parse_builder
from medpref.curation.chat_ahead import asked_ahead, bound, signature
from medpref.curation.draft import Context
from medpref.curation.evidence import Drop, Read, located, sift
from medpref.curation.finish import finish
from medpref.curation.imported import NAME, adopt, maker_of
from medpref.curation.localized import signature as models_named
from medpref.curation.mine import Pick
from medpref.curation.neighbour import Neighbour, near_map
from medpref.curation.policy_saliency import lend
from medpref.curation.pool import gather
from medpref.curation.sampling import draw_samples, policy_sampler
from medpref.curation.views import Views, image_pool
from medpref.errors import DataError, RecipeError
from medpref.models.chat import NOBODY, Roles
from medpref.progress import track
from medpref.schema import Example, OwnReply, PreferencePair
from medpref.seeds import derive_seed

__all__ = ["build_pairs", "parse_builder"]
JOURNAL = "journal.jsonl"
Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where pairs are written (``out``), below which run folder, and under which final name (``prefix``)."""

    out: Path
    root: Path
    prefix: str


def build_pairs(
    builders: Sequence[Mapping[str, Any]],
    examples: Sequence[Example],
    own: Mapping[str, OwnReply],
    out: Path,
    *,
    root: Path,
    prefix: str,
    seed: int,
    imported: Sequence[PreferencePair] = (),
    held_out: Sequence[Example] = (),
    policy: Any = None,
    policy_hash: str = "",
    roles: Roles = NOBODY,
    reader: Read | None = None,
) -> dict[str, float]:
    """Write ``pairs.jsonl``, ``dropped.jsonl``, ``card.json`` and blobs into ``out``; returns counts.

    ``prefix`` is the folder's final name below ``root``. ``held_out`` examples are only compared with, for the leak
    check. ``policy`` (a loaded `models.policy.Policy`, or a callable that loads it) is for writers that sample and
    localizers that ask it, ``reader`` for evidence checks, ``roles`` for writers and judges that ask; ``policy_hash``
    goes into the provenance. An attempt with the same inputs is continued, one with others done again. DataError: an
    example not of train.
    """
    _refuse_held_out(examples)
    parsed = [lend(builder, policy, root, said=own) for builder in _parsed(builders, roles)]
    told = [[dict(one) for one in builders], signature(builders, roles) + models_named(builders)]
    given = [[*examples], dict(own), [*imported], [*held_out]]
    key = store.digest([medpref.__version__, told, prefix, seed, policy_hash, *given])
    if (done := _finished(out, key)) is not None:
        return done
    gathered = gather(examples, own, seed=seed, root=root, held_out=held_out)
    context = replace(gathered, policy_hash=policy_hash, roles=roles)
    with store.Journal(out / JOURNAL) as journal:
        journal.get("inputs", lambda: key)
        rows, sampled = _rows(parsed, examples, imported, context, journal, place=Place(out, root, prefix), of=policy)
        rows, evidence = sift(rows, _checks(parsed, imported), journal, read=located(reader, out, prefix))
    held: dict[str, Any] = {"examples": examples, "held_out": held_out, "sampled": sampled, "evidence": evidence}
    counts = finish(out, key, rows, parsed, **held)
    (out / JOURNAL).unlink(missing_ok=True)
    return counts


def _parsed(builders: Sequence[Mapping[str, Any]], roles: Roles) -> list[Builder]:
    """The builders, their judges bound to the models; two of one name are an error."""
    parsed = [bound(parse_builder(config, f"pairs[{index}]"), roles) for index, config in enumerate(builders)]
    for name, times in Counter(builder.name for builder in parsed).items():
        if times > 1:
            given = f"{times} builders named {name!r}"
            raise RecipeError("pairs", given=given, expected="one", todo="give each a name")
    return parsed


def _checks(builders: Sequence[Builder], imported: Sequence[PreferencePair]) -> dict[str, Drop]:
    """The evidence checks by builder; imported pairs have that of the builder that makes their corrupt views."""
    maker = maker_of(builders) if imported else None
    named = {one.name: one.evidence for one in builders} | ({NAME: maker.evidence} if maker else {})
    return {name: check for name, check in named.items() if check is not None}


def _rows(
    builders: Sequence[Builder],
    examples: Sequence[Example],
    imported: Sequence[PreferencePair],
    context: Context,
    journal: store.Journal,
    *,
    place: Place,
    of: Any,
) -> tuple[list[Row], list[OwnReply]]:
    """The rows of every builder and of the imported pairs, and the replies sampled for them from the policy ``of``."""
    sampler = policy_sampler(of, place.root) if of is not None else None
    samples, sampled = draw_samples(builders, examples, context, journal, sampler=sampler)
    context = replace(context, samples=samples)
    rows = [row for one in builders for row in _run(one, examples, context, journal, place=place)]
    rows += adopt(imported, builders, context, journal, out=place.out, root=place.root, prefix=place.prefix)
    return rows, sampled


def _refuse_held_out(examples: Iterable[Example]) -> None:
    for example in examples:
        if example.split != "train":
            raise DataError(
                f"example {example.id}", given=f"split {example.split!r}", expected="train",
                todo="pass the others as held_out; pairs are never made of them",
            )  # fmt: skip


def _finished(out: Path, key: str) -> dict[str, float] | None:
    """The counts of a finished attempt with these inputs; what an attempt with other inputs left is removed."""
    card = out / "card.json"
    if card.exists():
        held = store.read_json(card)
        if held.get("inputs") == key:
            (out / JOURNAL).unlink(missing_ok=True)
            return dict(held["counts"])
        card.unlink()
    journal = out / JOURNAL
    if journal.exists():
        with store.Journal(journal) as held_journal:
            same = held_journal.done.get("inputs") == key
        if not same:
            journal.unlink()
    return None


def _run(
    builder: Builder, examples: Sequence[Example], context: Context, journal: store.Journal, *, place: Place
) -> list[Row]:
    """The rows of one builder in the examples' order: pairs and drops."""
    eligible = [one for one in examples if builder.kinds is None or one.kind in builder.kinds]
    mine = replace(context, builder=builder.name, near=_near(builder, eligible, context))
    views = _views(builder, examples, place)
    rows: dict[str, Row] = {}
    made = 0
    picks = _picks(builder, eligible, mine)
    ready = asked_ahead(builder, picks, mine, made=lambda: made, done=journal.done)
    for pick in track(ready, f"pairs {builder.name}", total=len(picks)):
        if builder.limit is not None and made >= builder.limit:
            break
        entry = f"{builder.name}/{pick.example.id}"
        row = journal.get(entry, lambda p=pick: to_row(builder, p, mine, views))  # type: ignore[misc]
        rows[pick.example.id] = row
        made += "pair" in row
    return [rows[example.id] for example in examples if example.id in rows]


def _near(builder: Builder, examples: Sequence[Example], context: Context) -> Any:
    wanting = [one for one in (builder.chosen, builder.rejected) if isinstance(one, Neighbour)]
    return near_map(examples, context, k=wanting[0].k, index=wanting[0].index) if wanting else {}


def _views(builder: Builder, examples: Sequence[Example], place: Place) -> Views | None:
    if builder.corrupt is None:
        return None
    pool = image_pool(examples, place.root) if hasattr(builder.corrupt, "bound") else ()
    return Views(place.out, place.root, place.prefix, builder.localize, builder.corrupt, pool)


def _picks(builder: Builder, examples: Sequence[Example], context: Context) -> list[Pick]:
    """What the miner picks, in its order; else all, and under a limit in a seeded order."""
    if builder.mine is not None:
        return list(builder.mine.select(examples, context))
    picks = [Pick(example, {}) for example in examples]
    if builder.limit is None:
        return picks
    return sorted(picks, key=lambda pick: derive_seed(context.seed, "limit", builder.name, pick.example.id))


def to_row(builder: Builder, pick: Pick, context: Context, views: Views | None) -> Row:
    """A JSON-able row of the journal: a pair, or a drop."""
    made = assemble(builder, pick.example, context, views, mined=pick.reason)
    if isinstance(made, Dropped):
        told = {"example": pick.example.id, "builder": builder.name, "step": made.step, "reason": made.reason}
        return {"dropped": told}
    return {"pair": made.model_dump(mode="json"), "builder": builder.name}
