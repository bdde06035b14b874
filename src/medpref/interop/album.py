"""The images of a conversion: peers name files or embed bytes; ours are references by content, theirs are copies.

Knows: files and hashes. Does not know: pixels, or any one format.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medpref import store
from medpref.errors import DataError
from medpref.schema import ImageRef

FOLDER = "images"
MARKS = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"BM": ".bmp", b"GIF8": ".gif", b"RIFF": ".webp"}


class Album:
    """Reads images named relative to ``beside``; keeps bytes and copies in ``out/images``, each content once."""

    def __init__(self, out: Path, *, beside: Path) -> None:
        self.out, self.beside = out, beside
        self._hashes: dict[Path, str] = {}

    def read(self, value: Any, *, where: str) -> ImageRef:
        """The image that a peer's cell means: a file's name, or ``{"bytes": ..., "path": ...}``.

        A file stays where it is (absolute path); bytes become ``images/<sha256>.<suffix>`` below ``out``.
        """
        held = value if isinstance(value, Mapping) else {"path": value}
        if held.get("bytes"):
            return self.keep(held["bytes"])
        if not isinstance(held.get("path"), str) or not held["path"]:
            todo = "write the path of a file"
            raise DataError(where, given=f"a {type(value).__name__}", expected="an image", todo=todo)
        path = (self.beside / held["path"]).resolve()
        if path not in self._hashes:
            if not path.is_file():
                todo = "say where images lie: --images FOLDER"
                raise DataError(
                    where, given=f"{held['path']}: no file in {self.beside}", expected="an image", todo=todo
                )
            self._hashes[path] = store.file_digest(path)
        return ImageRef(path=str(path), sha256=self._hashes[path])

    def read_all(self, value: Any, *, where: str) -> tuple[ImageRef, ...]:
        """The images of a cell that holds one or a list of them."""
        listed = list(value) if isinstance(value, list | tuple) else [value]
        if not listed:
            raise DataError(where, given="no image", expected="at least one", todo="medpref aligns models that look")
        return tuple(self.read(one, where=where) for one in listed)

    def copy(self, ref: ImageRef) -> str:
        """The name of the image below ``out``: a copy, made once."""
        source = ref.locate(self.out)
        name = f"{FOLDER}/{ref.sha256}{source.suffix}"
        target = self.out / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        return name

    def copies(self, refs: tuple[ImageRef, ...]) -> list[str]:
        """The names of a view's images below ``out``."""
        return [self.copy(ref) for ref in refs]

    def keep(self, data: bytes) -> ImageRef:
        """A reference to an image of these bytes, stored once below ``out``."""
        suffix = next((name for mark, name in MARKS.items() if data.startswith(mark)), ".img")
        name = f"{FOLDER}/{store.digest(data)}{suffix}"
        path = self.out / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return ImageRef(path=name, sha256=store.digest(data))
