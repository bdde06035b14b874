"""Our own formats: ``pairs`` (preference pairs as a run keeps them) and ``rows`` (what the source jsonl reads).

Reading ``RUN/pairs/NAME`` gives the pairs with absolute image paths. ``rows`` are ``{"id", "image" or "images",
"question", "answer", "rejected", "weight", "patient"}`` without a split: train on them with ``--source
jsonl:file=OUT/data.jsonl,split=by_patient``. They have no second view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from medpref import store
from medpref.errors import DataError
from medpref.interop.album import Album
from medpref.interop.pair import Dropped, Parts, build, need, number, texts
from medpref.interop.rows import read_rows
from medpref.interop.turns import bare
from medpref.schema import CLEAN, ImageRef, PreferencePair

PAIRS, ROWS = "pairs.jsonl", "data.jsonl"
PARENTS_SEARCHED = 4


def read_pairs(path: Path, album: Album) -> Iterator[PreferencePair | Dropped]:
    """The pairs of a file or of its folder; DataError where an image is not what its hash says."""
    file = path / PAIRS if path.is_dir() else path
    for count, raw in store.iter_lines(file):
        where = f"{file}:{count}"
        pair = store.parse_row(PreferencePair, raw, where=where)
        views = {
            name: tuple(_found(ref, album, file=file, where=where) for ref in refs) for name, refs in pair.views.items()
        }
        yield pair.model_copy(update={"views": views})


def _found(ref: ImageRef, album: Album, *, file: Path, where: str) -> ImageRef:
    """The reference with an absolute path: relative ones are below the run folder, some folders above the file."""
    folders = [album.beside, *file.resolve().parents[:PARENTS_SEARCHED]]
    root = next((folder for folder in folders if (folder / ref.path).is_file()), folders[0])
    found = album.read(str(root / ref.path), where=where)
    if found.sha256 != ref.sha256:
        given, todo = f"{ref.path} with content {found.sha256[:12]}", "restore the file"
        raise DataError(where, given=given, expected=f"content {ref.sha256[:12]}", todo=todo)
    return found


def write_pairs(pairs: Iterable[PreferencePair], album: Album) -> int:
    """Write ``pairs.jsonl``; files stay where they are, embedded images lie in ``images/`` beside it."""
    return store.write_lines(album.out / PAIRS, pairs)


def read_rows_format(path: Path, album: Album) -> Iterator[PreferencePair | Dropped]:
    """The pairs of rows that carry ``rejected``; other rows are dropped."""
    for line in read_rows(path / ROWS if path.is_dir() else path):
        row, where = line.row, line.where
        if row.get("rejected") is None:
            yield Dropped(str(row.get("id", line.id)), "no rejected reply")
            continue
        clean = album.read_all(need(row, ["images", "image"], where=where), where=f"{where}.image")
        parts = Parts(
            id=str(row.get("id", line.id)),
            question=bare(str(need(row, ["question"], where=where)), len(clean), where=where),
            chosen=str(need(row, ["answer"], where=where)),
            rejected=str(row["rejected"]),
            clean=clean,
            origin="rows",
            weight=number(row.get("weight", 1.0), where=f"{where}.weight"),
            patient=str(row.get("patient", "")),
            kind=str(row.get("kind", "")),
        )
        yield build(parts, where=where)


def write_rows(pairs: Iterable[PreferencePair], album: Album) -> int:
    """Write ``data.jsonl``; files stay where they are, embedded images lie in ``images/`` beside it."""
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        chosen, rejected = texts(pair)
        paths = [ref.path for ref in pair.views[CLEAN]]
        row: dict[str, Any] = {"image": paths[0]} if len(paths) == 1 else {"images": paths}
        row |= {"id": pair.id, "patient": pair.patient, "question": pair.question, "answer": chosen}
        rows.append({**row, "rejected": rejected, "weight": pair.weight, "kind": pair.kind or "open"})
    return store.write_lines(album.out / ROWS, rows)
