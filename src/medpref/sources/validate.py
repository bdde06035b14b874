"""Everything wrong with a file of data in one pass: rows of our own format, ``examples.jsonl``, ``pairs.jsonl``.

Nothing is repaired and nothing stops at the first complaint; `Problem` says where, what, and what to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpref.errors import DataError
from medpref.schema import SPLITS
from medpref.sources.checks import Checked, Images, Standing, check_example, check_pair, check_row
from medpref.sources.layouts import recognise, whole_problems
from medpref.sources.pack import Pack
from medpref.sources.problem import Problem
from medpref.sources.rows import iter_rows

FORMATS = ("examples.jsonl", "pairs.jsonl", "examples/examples.jsonl", "pairs/*/pairs.jsonl")
PACK = "manifest.jsonl"
PARENTS_SEARCHED = 4


def validate(path: Path, *, root: Path | None = None) -> list[Problem]:
    """Every problem of a file, or of our formats' files in a folder; row by row, then those of the whole file.

    A run folder's examples and pairs are looked at; a pack or a published data set in its authors' layout is loaded
    once, which finds its first problem only, and then its leaks between splits.

    ``root`` is the run folder that image paths of examples and pairs are relative to (default: the nearest folder
    above the file under which one of its images exists). DataError where there is nothing to validate.
    """
    path = Path(path)
    if path.is_dir() and (path / PACK).exists():
        return list(_pack_problems(path))
    if path.is_dir() and (source := recognise(path)) is not None:
        return list(whole_problems(source))
    files = [path]
    if path.is_dir():
        files = [file for name in FORMATS for file in sorted(path.glob(name))] or sorted(path.glob("*.jsonl"))
    if not files or not all(file.is_file() for file in files):
        raise DataError(str(path), given="no such file", expected="a file of rows, or a folder", todo="check the path")
    images = Images()
    return [problem for file in files for problem in _problems(file, root, images)]


def _problems(path: Path, root: Path | None, images: Images) -> Iterator[Problem]:
    seen, empty, root = Seen(path), True, root or _root(path)
    for number, raw in iter_rows(path):
        empty = False
        if isinstance(raw, Problem):
            yield raw
            continue
        problems, standing = _check(raw, path, number, root, images)
        yield from problems
        if standing is not None:
            yield from seen.add(number, standing)
    if empty:
        yield Problem("empty file", str(path), "no rows", "at least one", "write one JSON object a line")
    yield from seen.whole()


def _pack_problems(folder: Path) -> Iterator[Problem]:
    pack = Pack(folder=str(folder))
    try:
        list(pack.load(folder, seed=0, prefix=""))
        list(pack.pairs())
    except DataError as error:
        yield Problem("pack", error.where, error.given, error.expected, error.todo)


def _check(raw: Any, path: Path, number: int, root: Path, images: Images) -> Checked:
    """One row by its own format: pairs have views and replies, examples have images with hashes, all else is ours."""
    where = f"{path}:{number}"
    if isinstance(raw, dict) and ("replies" in raw or "views" in raw):
        return check_pair(raw, where=where, root=root, images=images)
    held = raw.get("images") if isinstance(raw, dict) else None
    if isinstance(held, list) and held and isinstance(held[0], dict):
        return check_example(raw, where=where, root=root, images=images)
    return check_row(raw, where=where, folder=path.parent, images=images)


def _root(path: Path) -> Path:
    """The nearest folder above a file under which one of its rows' images exists; else the file's own folder."""
    folders = path.resolve().parents[:PARENTS_SEARCHED]
    for _, raw in iter_rows(path):
        for name in _paths(raw):
            for folder in folders:
                if (folder / name).exists():
                    return folder
    return path.parent


def _paths(value: Any) -> Iterator[str]:
    """Every text under a key ``path`` of a JSON value."""
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        yield value["path"]
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _paths(inner)


class Seen:
    """What a pass over one file remembers: ids, and the first row of each patient and image in each split."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids: dict[str, int] = {}
        self.first: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self.splits: set[str] = set()
        self.unsplit: list[int] = []

    def add(self, number: int, row: Standing) -> Iterator[Problem]:
        """Remember row ``number``; complain about an id met before, and about what stands in another split already."""
        where = f"{self.path}:{number}"
        if row.id is not None and self.ids.setdefault(row.id, number) != number:
            given = f"id {row.id!r}, as in row {self.ids[row.id]}"
            yield Problem("duplicate id", f"{where}:id", given, "every id once", "rename one of them")
        if row.split is None:
            self.unsplit.append(number)
            return
        self.splits.add(row.split)
        patient = [("patient", row.patient)] if row.patient is not None else []
        for what, name in [*patient, *(("image", image) for image in row.images)]:
            held = self.first[what, name]
            if held and row.split not in held:
                other, there = next(iter(held.items()))
                given = f"{what} {name[:40]!r} in {row.split}, and in {other} (row {there})"
                todo = "move all its rows to one split, or split by patient"
                yield Problem(f"leaked {what}", f"{where}:split", given, f"each {what} in one split", todo)
            held.setdefault(row.split, number)

    def whole(self) -> Iterator[Problem]:
        """What no single row shows: rows without a split among others that have one, and no test split."""
        if not self.splits:
            return
        for number in self.unsplit:
            todo = "add it, or let the source split by patient (split: by_patient)"
            yield Problem("missing split", f"{self.path}:{number}:split", "no 'split'", f"one of {SPLITS}", todo)
        if "test" not in self.splits:
            given, todo = f"splits {', '.join(sorted(self.splits))}", "hold some patients out as test"
            yield Problem("no test split", f"{self.path}:split", given, "rows of the split test", todo)
