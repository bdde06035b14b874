r"""MMedPO's files (arXiv:2412.06141): LLaVA conversations, a weight, and perhaps another image on the rejected side.

The record ``{"id": 7, "image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\nIs it?"}, {"from":
"gpt", "value": "No"}], "rejected_conversations": [..., {"from": "gpt", "value": "Yes"}], "weighted_score": 0.8}``
becomes a text pair of weight 0.8. Its ``rejected_image`` becomes the corrupt view; with the same text on both sides the
pair has one reply (the paper's visual pairs). The flag ``rejected_noised`` puts a picture of pure noise there, as the
released loader does: normal with deviation 10, clipped to [0, 1], which is black and white speckle of the image's size.
``chosen_noised`` noises both sides, which leaves nothing to prefer by looking: such a record is refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medpref import store
from medpref.errors import DataError
from medpref.interop.album import Album
from medpref.interop.pair import Dropped, Parts, build, need, number, texts
from medpref.interop.rows import read_rows
from medpref.interop.turns import asked, bare, one, read_turns
from medpref.schema import CLEAN, CORRUPT, ImageRef, PreferencePair
from medpref.seeds import generator

NOISE_DEVIATION = 10.0
WEIGHTS = ("weighted_score", "weight", "dpo_weight")


def read(path: Path, album: Album) -> Iterator[PreferencePair | Dropped]:
    """The pairs of a file of records. A record without a weight is refused: the released trainer would not say so."""
    for line in read_rows(path):
        row, where = line.row, line.where
        clean = (album.read(need(row, ["image"], where=where), where=f"{where}.image"),)
        (question, chosen), (again, rejected) = (
            one(read_turns(need(row, [key], where=where), where=where), "ask reply", where=f"{where}.{key}")
            for key in ("conversations", "rejected_conversations")
        )
        question = bare(question, 1, where=where)
        if bare(again, 1, where=where) != question:
            given, todo = "two different questions", "correct or remove the record"
            raise DataError(where, given=given, expected="one question on both sides", todo=todo)
        id = str(row.get("id", line.id))
        corrupt, flags = _corrupt(row, album, clean=clean[0], id=id, where=where)
        parts = Parts(
            id=id,
            question=question,
            chosen=chosen,
            rejected=rejected,
            clean=clean,
            corrupt=corrupt,
            weight=number(need(row, WEIGHTS, where=where), where=f"{where}.weighted_score"),
            origin="mmedpo",
            provenance=flags,
        )
        yield build(parts, where=where)


def _corrupt(
    row: Mapping[str, Any], album: Album, *, clean: ImageRef, id: str, where: str
) -> tuple[tuple[ImageRef, ...], dict[str, Any]]:
    """The corrupt view of a record, if it has one, and the flags to remember. Noise comes before a named image."""
    if row.get("chosen_noised"):
        given, todo = "chosen_noised: noise on both sides", "remove the record"
        raise DataError(f"{where}.chosen_noised", given=given, expected="a clean chosen image", todo=todo)
    if row.get("rejected_noised"):
        return (album.keep(noise_like(clean.locate(album.out), id=id)),), {"rejected_noised": 1}
    if row.get("rejected_image"):
        return (album.read(row["rejected_image"], where=f"{where}.rejected_image"),), {}
    return (), {}


def noise_like(path: Path, *, id: str) -> bytes:
    """A PNG of pure noise of an image's size; the same for the same id."""
    with Image.open(path) as image:
        width, height = image.size
    values = generator(0, "mmedpo noise", id).normal(0.0, NOISE_DEVIATION, (height, width, 3))
    pixels = np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def write(pairs: Iterable[PreferencePair], album: Album) -> int:
    """Write ``data.json`` beside ``images/``; returns the number of records. DataError for a pair of several images."""
    rows = []
    for pair in pairs:
        views = {name: album.copies(refs) for name, refs in pair.views.items()}
        if any(len(names) != 1 for names in views.values()):
            given, todo = f"{len(views[CLEAN])} images", "leave the pair out, or use another format"
            raise DataError(f"pair {pair.id}", given=given, expected="one image a side", todo=todo)
        row: dict[str, Any] = {"id": pair.id, "image": views[CLEAN][0]}
        ask = {"from": "human", "value": asked(pair.question, 1)}
        for key, text in zip(("conversations", "rejected_conversations"), texts(pair), strict=True):
            row[key] = [ask, {"from": "gpt", "value": text}]
        if CORRUPT in views:
            row["rejected_image"] = views[CORRUPT][0]
        rows.append({**row, "weighted_score": pair.weight})
    store.write_json(album.out / "data.json", rows)
    return len(rows)
