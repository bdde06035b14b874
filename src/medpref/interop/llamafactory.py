"""LLaMA-Factory's ranking data, sharegpt form: a JSON file, named in ``dataset_info.json`` with ``"ranking": true``.

The row ``{"conversations": [{"from": "human", "value": "<image>Is it?"}], "chosen": {"from": "gpt", "value": "No"},
"rejected": {"from": "gpt", "value": "Yes"}, "images": ["a.png"]}`` becomes a pair of the clean view and two replies.
A folder is read by its ``dataset_info.json``: every ranking entry, with the column names it states. The format has
neither weights nor a second view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medpref import store
from medpref.errors import DataError
from medpref.interop.album import Album
from medpref.interop.pair import Dropped, Parts, build, need, texts
from medpref.interop.rows import read_rows
from medpref.interop.turns import asked, bare, one, read_turns, reply_of
from medpref.schema import CLEAN, PreferencePair

INFO, NAME = "dataset_info.json", "medpref"
COLUMNS = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}


def read(path: Path, album: Album) -> Iterator[PreferencePair | Dropped]:
    """The pairs of one JSON file, or of all ranking entries of a folder's ``dataset_info.json``."""
    for file, columns in _files(path):
        for line in read_rows(file):
            row, where = line.row, line.where
            clean = album.read_all(need(row, [columns["images"]], where=where), where=f"{where}.{columns['images']}")
            turns = read_turns(need(row, [columns["messages"]], where=where), where=where)
            (question,) = one(turns, "ask", where=f"{where}.{columns['messages']}")
            parts = Parts(
                id=str(row.get("id") or line.id),
                question=bare(question, len(clean), where=where),
                chosen=reply_of(need(row, [columns["chosen"]], where=where), where=where),
                rejected=reply_of(need(row, [columns["rejected"]], where=where), where=where),
                clean=clean,
                origin="llamafactory",
            )
            yield build(parts, where=where)


def _files(path: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Each file of rows with its column names."""
    if not path.is_dir():
        yield path, COLUMNS
        return
    entries: dict[str, Any] = store.read_json(path / INFO)
    ranking = {name: entry for name, entry in entries.items() if entry.get("ranking") and "file_name" in entry}
    if not ranking:
        given, expected = f"{len(entries)} entries", "an entry with ranking true and a file_name"
        raise DataError(str(path / INFO), given=given, expected=expected, todo="give the file of rows itself")
    for entry in ranking.values():
        yield path / entry["file_name"], {**COLUMNS, **entry.get("columns", {})}


def write(pairs: Iterable[PreferencePair], album: Album) -> int:
    """Write ``medpref.json`` and ``dataset_info.json`` beside ``images/``; returns the number of rows."""
    rows = []
    for pair in pairs:
        chosen, rejected = texts(pair)
        names = album.copies(pair.views[CLEAN])
        rows.append(
            {
                "id": pair.id,
                "conversations": [{"from": "human", "value": asked(pair.question, len(names))}],
                "chosen": {"from": "gpt", "value": chosen},
                "rejected": {"from": "gpt", "value": rejected},
                "images": names,
            }
        )
    store.write_json(album.out / f"{NAME}.json", rows)
    entry = {"file_name": f"{NAME}.json", "formatting": "sharegpt", "ranking": True, "columns": COLUMNS}
    store.write_json(album.out / INFO, {NAME: entry})
    return len(rows)
