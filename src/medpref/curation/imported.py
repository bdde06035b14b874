"""Pairs that a source carries (MMedPO's file format and others), brought into a curation beside the builders' own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medpref import store
from medpref.curation.assemble import marked
from medpref.curation.builder import Builder
from medpref.curation.draft import Context
from medpref.curation.views import View, Views
from medpref.schema import CHOSEN, CORRUPT, REJECTED, Example, PreferencePair

NAME = "imported"
Row = dict[str, Any]


def maker_of(builders: Sequence[Builder]) -> Builder | None:
    """The builder whose corrupt views imported pairs get: the first that makes them for pairs of two replies."""
    return next((one for one in builders if one.corrupt is not None and REJECTED in one.replies), None)


def adopt(
    imported: Sequence[PreferencePair],
    builders: Sequence[Builder],
    context: Context,
    journal: store.Journal,
    *,
    out: Path,
    root: Path,
    prefix: str,
) -> list[Row]:
    """Rows of the imported pairs whose example is a train example.

    They get spans, and a corrupt view where some builder makes corrupt views for pairs of two replies and a region is
    found; without one they stay text pairs.
    """
    maker = maker_of(builders)
    views = Views(out, root, prefix, maker.localize, maker.corrupt) if maker else None
    rows = []
    for pair in imported:
        example = context.examples.get(pair.example)
        if example is None:
            reason = "its example is not in the train split"
            rows.append({"dropped": {"example": pair.example, "builder": NAME, "step": "import", "reason": reason}})
            continue
        rows.append(journal.get(f"{NAME}/{pair.id}", lambda p=pair, e=example: _adopted(p, e, views, context)))  # type: ignore[misc]
    return rows


def _adopted(pair: PreferencePair, example: Example, views: Views | None, context: Context) -> Row:
    provenance = {"builder": NAME, "answer": example.answer, **pair.provenance}
    replies = marked(pair.replies) if not pair.replies[CHOSEN].spans else dict(pair.replies)
    images = dict(pair.views)
    if views is not None and CORRUPT not in images:
        view = views.make(example, seed=context.seed)
        if isinstance(view, View):
            images[CORRUPT] = view.images
            provenance |= {"corruption": dict(view.parameters)}
        else:
            provenance |= {"no_corrupt_view": view}
    kind = pair.kind or example.kind
    adopted = pair.model_copy(update={"replies": replies, "views": images, "provenance": provenance, "kind": kind})
    return {"pair": adopted.model_dump(mode="json"), "builder": NAME}
