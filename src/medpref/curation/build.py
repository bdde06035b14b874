"""From train examples to pairs on disk: builder by builder, journalled example by example.

A kill at any moment loses at most the example in work; the bytes of the finished files do not depend on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import medpref
from medpref import store
from medpref.curation.assemble import Dropped, assemble
from medpref.curation.builder import Builder, parse_builder
from medpref.curation.card import write_card
from medpref.curation.draft import Context, gather
from medpref.curation.imported import adopt
from medpref.curation.screens import Around
from medpref.curation.views import Views, image_pool
from medpref.errors import DataError, RecipeError
from medpref.progress import track
from medpref.schema import CORRUPT, Example, OwnReply, PreferencePair
from medpref.seeds import derive_seed

__all__ = ["build_pairs", "parse_builder"]
JOURNAL = "journal.jsonl"
Row = dict[str, Any]


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
) -> dict[str, int]:
    """Write ``pairs.jsonl``, ``dropped.jsonl``, ``card.json`` and blobs into ``out``; returns counts.

    ``prefix`` is the folder's final name below ``root``. ``examples`` must be of the train split (DataError);
    ``held_out`` ones are only compared with, for the leak check. A finished or interrupted attempt with the same
    inputs in ``out`` is continued, one with other inputs is done again.
    """
    _refuse_held_out(examples)
    parsed = [parse_builder(config, f"pairs[{index}]") for index, config in enumerate(builders)]
    _refuse_namesakes(parsed)
    key = store.digest(
        [medpref.__version__, list(map(dict, builders)), [*examples], dict(own), prefix, seed, [*imported], [*held_out]]
    )
    done = _finished(out, key)
    if done is not None:
        return done
    context = gather(examples, own, seed=seed)
    with store.Journal(out / JOURNAL) as journal:
        journal.get("inputs", lambda: key)
        rows = [row for one in parsed for row in _run(one, examples, context, journal, out=out, root=root, prefix=prefix)]
        rows += adopt(imported, parsed, context, journal, out=out, root=root, prefix=prefix)
    return _write(out, key, rows, parsed, examples=examples, held_out=held_out)


def _refuse_held_out(examples: Iterable[Example]) -> None:
    for example in examples:
        if example.split != "train":
            raise DataError(
                f"example {example.id}", given=f"split {example.split!r}", expected="train",
                todo="pass the others as held_out; pairs are never made of them",
            )  # fmt: skip


def _refuse_namesakes(builders: Sequence[Builder]) -> None:
    for name, times in Counter(builder.name for builder in builders).items():
        if times > 1:
            raise RecipeError("pairs", given=f"{times} builders named {name!r}", expected="one", todo="give each a name")


def _finished(out: Path, key: str) -> dict[str, int] | None:
    """The counts of a finished attempt with these inputs; what another attempt left is removed."""
    card = out / "card.json"
    if card.exists():
        held = store.read_json(card)
        if held.get("inputs") == key:
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
    builder: Builder,
    examples: Sequence[Example],
    context: Context,
    journal: store.Journal,
    *,
    out: Path,
    root: Path,
    prefix: str,
) -> list[Row]:
    """The rows of one builder in the examples' order: pairs and drops."""
    mine = Context(**{**context.__dict__, "builder": builder.name})
    pool = image_pool(examples, root) if hasattr(builder.corrupt, "bound") else ()
    views = Views(out, root, prefix, builder.localize, builder.corrupt, pool) if builder.corrupt is not None else None
    eligible = [one for one in examples if builder.kinds is None or one.kind in builder.kinds]
    picks = builder.mine.select(eligible, mine) if builder.mine is not None else [(one, {}) for one in eligible]
    if builder.limit is not None and builder.mine is None:
        picks = sorted(picks, key=lambda pick: derive_seed(mine.seed, "limit", builder.name, pick[0].id))
    rows: dict[str, Row] = {}
    made = 0
    for example, mined in track(picks, f"pairs {builder.name}"):
        if builder.limit is not None and made >= builder.limit:
            break
        entry = f"{builder.name}/{example.id}"
        row = journal.get(entry, lambda e=example, m=mined: to_row(assemble(builder, e, mine, views, mined=m), builder, e))
        rows[example.id] = row
        made += "pair" in row
    return [rows[example.id] for example in examples if example.id in rows]


def to_row(made: PreferencePair | Dropped, builder: Builder, example: Example) -> Row:
    """A JSON-able row of the journal: a pair, or a drop."""
    if isinstance(made, Dropped):
        return {"dropped": {"example": example.id, "builder": builder.name, "step": made.step, "reason": made.reason}}
    return {"pair": made.model_dump(mode="json"), "builder": builder.name}


def _write(
    out: Path,
    key: str,
    rows: Sequence[Row],
    builders: Sequence[Builder],
    *,
    examples: Sequence[Example],
    held_out: Sequence[Example],
) -> dict[str, int]:
    """Reweigh, screen, and write the files; the card last, for it says that all is there."""
    groups: dict[str, list[PreferencePair]] = {}
    dropped = [row["dropped"] for row in rows if "dropped" in row]
    for row in rows:
        if "pair" in row:
            groups.setdefault(row["builder"], []).append(PreferencePair.model_validate(row["pair"]))
    by_name = {builder.name: builder for builder in builders}
    kept: list[PreferencePair] = []
    seen: set[str] = set()
    by_id = {example.id: example for example in examples}
    patients = frozenset(example.patient for example in held_out)
    images = frozenset(ref.sha256 for example in held_out for ref in example.images)
    for name, pairs in groups.items():
        passing = []
        for pair in pairs:
            reason = _screen(pair, by_name.get(name), Around(by_id.get(pair.example), patients, images), seen)
            if reason is None:
                passing.append(pair)
            else:
                step, text = reason
                dropped.append({"example": pair.example, "builder": name, "step": step, "reason": text})
        kept += _reweighed(passing, by_name.get(name))
    store.write_lines(out / "pairs.jsonl", kept)
    store.write_lines(out / "dropped.jsonl", dropped)
    counts = {"pairs": len(kept), "dropped": len(dropped), "corrupt_views": sum(CORRUPT in p.views for p in kept)}
    counts |= {f"pairs/{name}": sum(p.provenance.get("builder") == name for p in kept) for name in groups}
    write_card(out, key, counts, kept, dropped, examples=examples, held_out=held_out)
    (out / JOURNAL).unlink(missing_ok=True)
    return counts


def _screen(
    pair: PreferencePair, builder: Builder | None, around: Around, seen: set[str]
) -> tuple[str, str] | None:
    """``(step, reason)`` why a pair is dropped: a duplicate, or what a screen says; None where it stays."""
    texts = sorted((name, reply.text) for name, reply in pair.replies.items())
    images = [ref.sha256 for ref in pair.views["clean"]]
    print_of = store.digest([pair.question, images, texts, sorted(pair.views)])
    if print_of in seen:
        return "duplicate", "the same question, images and replies as an earlier pair"
    for screen in builder.screens if builder else ():
        reason = screen.reject(pair, around)
        if reason:
            return f"screen {screen.kind}", reason
    seen.add(print_of)
    return None


def _reweighed(pairs: Sequence[PreferencePair], builder: Builder | None) -> list[PreferencePair]:
    """The pairs with their group's weights on a common scale; the judge's own weight stays in the provenance."""
    if builder is None or builder.reweigh is None:
        return list(pairs)
    weights = builder.reweigh.reweigh([pair.weight for pair in pairs])
    return [
        pair.model_copy(update={"weight": weight, "provenance": {**pair.provenance, "raw_weight": pair.weight}})
        for pair, weight in zip(pairs, weights, strict=True)
    ]
