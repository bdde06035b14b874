"""Answers on disk: append-only JSON lines under content keys, which survive a kill and are shared by runs. No torch.

Each process that pays for answers appends to a file of its own, so that two runs may use one folder at the same time;
a line that a killed process left unfinished is passed over.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medpref import store
from medpref.errors import ArtifactError

log = logging.getLogger(__name__)
Entry = dict[str, Any]


class AnswerStore:
    """The answers in a folder by key. Safe for threads; files are readable by their owner alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._held: dict[str, Entry] | None = None
        self._file = -1

    def get(self, key: str) -> Entry | None:
        """The answer under a key, or None."""
        with self._lock:
            return self._load().get(key)

    def put(self, key: str, entry: Mapping[str, Any]) -> None:
        """File an answer: it is on its way to disk when this returns."""
        line = store.to_json({"key": key, "value": entry}) + "\n"
        with self._lock:
            self._load()[key] = dict(entry)
            if self._file < 0:
                self._file = self._create()
            data = line.encode()
            while data:
                data = data[os.write(self._file, data) :]

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def __len__(self) -> int:
        with self._lock:
            return len(self._load())

    def _load(self) -> dict[str, Entry]:
        if self._held is None:
            self._held = {key: entry for path in sorted(_files(self.folder)) for key, entry in read_answers(path)}
        return self._held

    def _create(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken = len(list(_files(self.folder)))
        for number in itertools.count(taken + 1):
            path = self.folder / f"answers-{number:04d}.jsonl"
            try:
                return os.open(path, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY, 0o600)
            except FileExistsError:
                continue
        raise AssertionError("unreachable")


def _files(folder: Path) -> Iterator[Path]:
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(str(folder), given="a file", expected="a folder of answers", todo="name another folder")
    return folder.glob("answers-*.jsonl")


def read_answers(path: Path) -> Iterator[tuple[str, Entry]]:
    """The ``(key, entry)`` lines of a file of answers; a damaged line is passed over (the last may be unfinished)."""
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        try:
            row = json.loads(line)
            yield row["key"], row["value"]
        except (ValueError, KeyError, TypeError):
            log.warning("%s:%d is no answer and is passed over", path, number)
