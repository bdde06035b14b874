"""ms-swift's preference data (4.6): ``messages`` and what differs on the rejected side, images included.

The row ``{"messages": [{"role": "user", "content": "<image>Is it?"}, {"role": "assistant", "content": "No"}],
"images": ["a.png"], "rejected_response": "Yes"}`` becomes a pair of the clean view and two replies.
``rejected_messages`` may stand for ``rejected_response``. ``rejected_images`` that are not ``images`` become the
corrupt view; alone (or beside the same text) they make a pair of one reply, whose image is what is preferred.
The format has no weights (``margin`` is for reward models).
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
from medpref.interop.turns import asked, bare, one, read_turns
from medpref.schema import CLEAN, CORRUPT, PreferencePair


def read(path: Path, album: Album) -> Iterator[PreferencePair | Dropped]:
    """The pairs of a file of rows."""
    for line in read_rows(path):
        row, where = line.row, line.where
        clean = album.read_all(need(row, ["images"], where=where), where=f"{where}.images")
        other = row.get("rejected_images")
        question, chosen = _turn(need(row, ["messages"], where=where), len(clean), where=f"{where}.messages")
        parts = Parts(
            id=str(row.get("id") or line.id),
            question=question,
            chosen=chosen,
            rejected=_rejected(row, (question, chosen), images=len(clean), where=where),
            clean=clean,
            corrupt=album.read_all(other, where=f"{where}.rejected_images") if other else (),
            origin="swift",
        )
        yield build(parts, where=where)


def _turn(messages: Any, images: int, *, where: str) -> tuple[str, str]:
    question, reply = one(read_turns(messages, where=where), "ask reply", where=where)
    return bare(question, images, where=where), reply


def _rejected(row: Mapping[str, Any], turn: tuple[str, str], *, images: int, where: str) -> str:
    """The rejected text: its messages', its response, or, where only the images differ, the chosen one."""
    if row.get("rejected_messages"):
        again, reply = _turn(row["rejected_messages"], images, where=f"{where}.rejected_messages")
        if again != turn[0]:
            given, todo = "another question", "a preference pair has one question"
            raise DataError(f"{where}.rejected_messages", given=given, expected=repr(turn[0])[:60], todo=todo)
        return reply
    if row.get("rejected_response") is not None:
        if isinstance(row["rejected_response"], str):
            return row["rejected_response"]
        given, todo = "several rejected responses", "write one row for each"
        raise DataError(f"{where}.rejected_response", given=given, expected="one text", todo=todo)
    if row.get("rejected_images"):
        return turn[1]
    todo = "add rejected_response, rejected_messages or rejected_images"
    raise DataError(where, given="nothing rejected", expected="a rejected side", todo=todo)


def write(pairs: Iterable[PreferencePair], album: Album) -> int:
    """Write ``data.jsonl`` beside ``images/``; returns the number of rows."""
    rows = []
    for pair in pairs:
        chosen, rejected = texts(pair)
        names = album.copies(pair.views[CLEAN])
        ask = {"role": "user", "content": asked(pair.question, len(names))}
        row: dict[str, Any] = {"id": pair.id, "messages": [ask, {"role": "assistant", "content": chosen}]}
        row["images"] = names
        if CORRUPT in pair.views:
            row["rejected_messages"] = [ask, {"role": "assistant", "content": rejected}]
            row["rejected_images"] = album.copies(pair.views[CORRUPT])
        else:
            row["rejected_response"] = rejected
        rows.append(row)
    return store.write_lines(album.out / "data.jsonl", rows)
