"""Rows of peers' files: a JSON array, JSON lines, or tables of the ``datasets`` library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from medpref import store
from medpref.arrow import is_table, open_tables
from medpref.errors import DataError


class Line(NamedTuple):
    """A row, where it stands, and an id for it if it has none."""

    where: str
    id: str
    row: dict[str, Any]


def read_rows(path: Path) -> Iterator[Line]:
    """The rows of a file or folder, by what it is; of a table's splits, ``train`` (or the only one)."""
    if path.is_file() and path.suffix in (".json", ".jsonl"):
        yield from _json_rows(path)
    elif path.is_dir() and (path / "metadata.jsonl").is_file():
        yield from _json_rows(path / "metadata.jsonl")
    elif path.exists() and is_table(path):
        tables = open_tables(str(path))
        name = "train" if "train" in tables else next(iter(tables))
        if len(tables) > 1 and name != "train":
            given = f"splits {', '.join(tables)}"
            raise DataError(str(path), given=given, expected="one of them to be train", todo="give one split's files")
        for count, row in enumerate(tables[name](), start=1):
            yield Line(f"{path}:{name}[{count}]", f"{path.stem}-{count:06d}", row)
    else:
        given = "nothing that can be read" if path.exists() else "no such file"
        expected = ".json, .jsonl, .parquet, or a dataset saved to disk"
        raise DataError(str(path), given=given, expected=expected, todo="check the path")


def _json_rows(path: Path) -> Iterator[Line]:
    if path.suffix == ".jsonl":
        entries = [(f"{path}:{count}", row) for count, row in store.iter_lines(path)]
    else:
        content = store.read_json(path)
        if not isinstance(content, list):
            given, todo = f"a {type(content).__name__}", "give the file of rows"
            raise DataError(str(path), given=given, expected="a JSON array", todo=todo)
        entries = [(f"{path}[{index}]", row) for index, row in enumerate(content)]
    for count, (where, row) in enumerate(entries, start=1):
        if not isinstance(row, dict):
            raise DataError(where, given=f"a {type(row).__name__}", expected="an object", todo="mend the row")
        yield Line(where, f"{path.stem}-{count:06d}", row)
