"""Rows of tables that the ``datasets`` library keeps: saved to disk, as parquet, or on the hub. Needs its extra.

Rows are plain values; an image is the mapping ``{"bytes": ..., "path": ...}`` (one of them may be None), never decoded
here. Reading a folder needs no network. Knows: containers and split names. Does not know: what a column means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from medpref.errors import DataError, nearest
from medpref.schema import Split

Row = dict[str, Any]
Table = Callable[[], Iterator[Row]]
BATCH = 64
SAVED = ("dataset_dict.json", "state.json")
SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_HUB_ID = re.compile(r"^[\w.\-]+/[\w.\-]+$")
_WORD = re.compile(r"[a-z]+")


def split_of(name: str, *, where: str) -> Split:
    """Our name of a split that others call ``val``, ``validate``, ``dev`` ...; DataError for an unknown one.

    >>> split_of("validate", where="")
    'validation'
    """
    split = SPLIT_NAMES.get(name.strip().casefold())
    if split is None:
        raise DataError(where, given=f"split {name!r}", expected="a split", todo=nearest(name, SPLIT_NAMES))
    return split


def is_table(path: Path) -> bool:
    """Whether a path is a dataset saved to disk, a parquet file, or a folder with parquet files in it."""
    if path.is_file():
        return path.suffix == ".parquet"
    saved = any((path / name).exists() for name in SAVED)
    return saved or any(any(path.glob(f"{depth}*.parquet")) for depth in ("", "*/", "*/*/"))


def open_tables(where: str, *, revision: str | None = None, name: str | None = None) -> dict[str, Table]:
    """The tables of a folder, a parquet file or a hub id by their own names; each call of one starts its rows anew.

    ``revision`` and ``name`` (the configuration) only concern the hub. A table saved alone is called ``train``.
    """
    path = Path(where)
    if path.is_dir() and any((path / file).exists() for file in SAVED):
        saved = _library("datasets", where).load_from_disk(str(path))
        return _tables(saved if hasattr(saved, "keys") else {"train": saved})
    if path.exists():
        return _parquet(path)
    if not _HUB_ID.match(where):
        raise DataError(where, given="no such folder", expected="a saved dataset or owner/name", todo="check the path")
    library = _library("datasets", where)
    try:
        return _tables(library.load_dataset(where, name, revision=revision))
    except (OSError, ValueError) as error:
        given = f"the hub does not give it ({type(error).__name__}: {error})"
        todo = "check the name and the network, or download it and give its folder"
        raise DataError(where, given=given, expected="a data set of parquet files", todo=todo) from None


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of one parquet file; DataError where it is none."""
    parquet = _library("pyarrow.parquet", str(path))
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                yield from batch.to_pylist()
    except (OSError, ValueError) as error:  # pyarrow.ArrowInvalid is a ValueError
        given = f"unreadable ({type(error).__name__}: {str(error)[:120]})"
        raise DataError(str(path), given=given, expected="a parquet file", todo="download it again") from None


def _tables(datasets: Mapping[str, Any]) -> dict[str, Table]:
    def table(dataset: Any) -> Table:
        def rows() -> Iterator[Row]:
            for batch in dataset.with_format("arrow").iter(batch_size=BATCH):
                yield from batch.to_pylist()

        return rows

    return {str(name): table(dataset) for name, dataset in datasets.items()}


def _parquet(path: Path) -> dict[str, Table]:
    """The parquet files of a folder by the split that a file or its folder is named for; shards in order."""
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not files or any(file.suffix != ".parquet" for file in files):
        expected = "a dataset saved to disk, or parquet files"
        raise DataError(str(path), given="neither", expected=expected, todo="save it with save_to_disk or to_parquet")
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(_split_word(file), []).append(file)

    def table(shards: list[Path]) -> Table:
        return lambda: (row for shard in shards for row in parquet_rows(shard))

    return {name: table(shards) for name, shards in groups.items()}


def _split_word(file: Path) -> str:
    for text in (file.stem, file.parent.name):
        word = _WORD.match(text.casefold())
        if word and word.group() in SPLIT_NAMES:
            return word.group()
    return "train"


def _library(name: str, where: str) -> Any:
    try:
        library = import_module(name)
    except ImportError:
        todo = "pip install 'medpref[datasets]'"
        raise DataError(where, given="a table of the datasets library", expected="that library", todo=todo) from None
    if name == "datasets":
        library.disable_progress_bars()
    return library
