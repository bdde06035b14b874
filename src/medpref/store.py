"""Artifacts: JSON lines, blobs by content hash, manifests, atomic folders and resumable journals.

Half a folder never exists: a stage writes into ``NAME.partial`` and renames it. What a killed stage leaves in
``NAME.partial`` is its journal; the next run of the same hash continues there, another hash starts afresh.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from medpref.errors import ArtifactError, DataError, RecipeError

Value = TypeVar("Value", bound=BaseModel)
MANIFEST = "manifest.json"
CACHE = ".cache"
"""Below a run's root: what the models of a run share while it goes on. May be deleted at any time."""


def to_json(value: Any) -> str:
    """Canonical JSON (sorted keys, no spaces, UTF-8): equal values give equal bytes."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def digest(value: Any) -> str:
    """SHA-256 (hexadecimal) of bytes, or of a value's canonical JSON."""
    data = value if isinstance(value, bytes) else to_json(value).encode()
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, or nothing: a temporary name, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    scratch.write_bytes(data)
    scratch.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file as UTF-8, or nothing."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON, atomically."""
    plain = json.loads(to_json(value))
    write_text(path, json.dumps(plain, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; DataError where it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(str(path), given="no such file", expected="a JSON file", todo="check the path") from None
    except json.JSONDecodeError as error:
        raise DataError(str(path), given=f"line {error.lineno}: {error.msg}", expected="JSON", todo="mend it") from None


def write_lines(path: Path, values: Iterable[Any]) -> int:
    """Write values as JSON lines, atomically; returns their number."""
    lines = [to_json(value) for value in values]
    write_text(path, "".join(line + "\n" for line in lines))
    return len(lines)


def iter_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """``(line number, parsed JSON)`` of each non-empty line; DataError names the bad line."""
    try:
        file = open(path, encoding="utf-8")  # noqa: SIM115 (closed below; the error must name a missing file)
    except FileNotFoundError:
        raise DataError(str(path), given="no such file", expected="JSON lines", todo="check the path") from None
    with file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    where = f"{path}:{number}"
                    raise DataError(where, given=error.msg, expected="one JSON object a line", todo="mend it") from None


def parse_row(cls: type[Value], row: Any, *, where: str) -> Value:
    """A row as a value of ``cls``; DataError names the key, what it holds and what it should."""
    try:
        return cls.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "(row)"
        given = f"{key} = {repr(first.get('input'))[:80]}"
        message = first["msg"].removeprefix("Value error, ")
        raise DataError(where, given=given, expected=message, todo=f"correct {key!r} in this row") from None


def read_lines(path: Path, cls: type[Value]) -> list[Value]:
    """All rows of a JSON-lines file as values of ``cls``; DataError names file, row and key."""
    return [parse_row(cls, row, where=f"{path}:{number}") for number, row in iter_lines(path)]


def put_blob(folder: Path, data: bytes, suffix: str) -> str:
    """Store bytes under their hash in ``folder/blobs``; returns ``blobs/<hash><suffix>`` (written once)."""
    name = f"blobs/{digest(data)}{suffix}"
    path = folder / name
    if not path.exists():
        write_bytes(path, data)
    return name


class Journal:
    """An append-only file of ``{"key", "value"}`` lines: work that survives a kill, and is never done twice.

    A torn last line (the process died while writing it) is cut off when the journal is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._load()
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (lives as long as the journal)

    def _load(self) -> None:
        data, good = self.path.read_bytes(), 0
        for line in data.splitlines(keepends=True):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                break
            if not line.endswith(b"\n"):
                break
            self.done[entry["key"]] = entry["value"]
            good += len(line)
        if good < len(data):
            with open(self.path, "r+b") as file:
                file.truncate(good)

    def get(self, key: str, work: Callable[[], Any]) -> Any:
        """The value under ``key``: from the journal, or from ``work()`` and then journalled (must be JSON-able)."""
        if key not in self.done:
            self.put(key, work())
        return self.done[key]

    def put(self, key: str, value: Any) -> None:
        """Record one finished piece of work."""
        self._file.write(json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n")
        self._file.flush()
        self.done[key] = value

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished folder, or None."""
    path = folder / MANIFEST
    return read_json(path) if path.exists() else None


def require(folder: Path, name: str) -> Path:
    """A file of a finished folder; ArtifactError says which stage is missing."""
    path = folder / name
    if not path.exists():
        raise ArtifactError(
            str(path), given="no such file", expected="the finished stage's folder", todo="run that stage first"
        )
    return path


def stage(
    folder: Path,
    *,
    name: str,
    inputs: Mapping[str, Any],
    work: Callable[[Path], Mapping[str, Any]],
) -> dict[str, Any]:
    """Carry out one stage, or skip it; returns its manifest (with ``skipped`` True or False).

    ``inputs`` (JSON-able: configuration, hashes of the folders read) decides the hash. ``work(partial)`` writes
    into ``partial`` and returns counts; it must resume from what an earlier killed attempt left there.
    """
    key = digest({"stage": name, "inputs": inputs})
    held = read_manifest(folder)
    if held is not None and held.get("hash") == key:
        return {**held, "skipped": True}
    partial = folder.with_name(folder.name + ".partial")
    marker = partial / ".inputs"
    if partial.exists() and (not marker.exists() or marker.read_text() != key):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    marker.write_text(key)
    began, before = time.perf_counter(), _spent(partial)
    with _kept_or_cleared(partial, began, before):
        counts = dict(work(partial))
    seconds = before + time.perf_counter() - began
    marker.unlink()
    (partial / ".seconds").unlink(missing_ok=True)
    manifest = {"stage": name, "hash": key, "inputs": inputs, "counts": counts, "seconds": round(seconds, 3)}
    write_json(partial / MANIFEST, manifest)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return {**read_json(folder / MANIFEST), "skipped": False}


def _spent(partial: Path) -> float:
    path = partial / ".seconds"
    return float(path.read_text()) if path.exists() else 0.0


@contextlib.contextmanager
def _kept_or_cleared(partial: Path, began: float, before: float) -> Iterator[None]:
    """On failure keep what can be resumed and the seconds it took; bad input without work behind it leaves nothing."""
    try:
        yield
    except (DataError, RecipeError):
        if not any(path.is_file() and path.name not in {".inputs", ".seconds"} for path in _work(partial)):
            shutil.rmtree(partial)
        raise
    except BaseException:
        write_text(partial / ".seconds", f"{before + time.perf_counter() - began:.3f}")
        raise


def _work(partial: Path) -> Iterator[Path]:
    """Files that hold finished work: journals and checkpoints (blobs alone are made again in a moment)."""
    yield from partial.glob("*journal*.jsonl")
    yield from partial.glob("checkpoint-*/*")
