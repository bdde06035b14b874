"""What a report's page is made with: it changes when medpref does, so that pages of unchanged runs are made again."""

from __future__ import annotations

import functools
from pathlib import Path

import medpref
from medpref import store

SOURCES = (".py", ".j2", ".js", ".css")


@functools.cache
def revision(folder: Path = Path(__file__).parent) -> str:
    """A hash of medpref's version and of every module, template, script and style of the report in ``folder``."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in SOURCES and path.is_file())
    held = [[path.relative_to(folder).as_posix(), store.file_digest(path)] for path in files]
    return store.digest([medpref.__version__, held])
