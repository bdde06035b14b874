"""Made-up images and pairs that the tests write themselves."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medpref import store
from medpref.interop.album import Album
from medpref.interop.convert import FORMATS
from medpref.interop.pair import Dropped
from medpref.schema import ImageRef, PreferencePair, Reply, Span


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 9), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def image(folder: Path, name: str, seed: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(png(seed))
    return name


def ref(folder: Path, seed: int) -> ImageRef:
    path = folder / image(folder, f"made-up-{seed}.png", seed)
    return ImageRef(path=str(path.resolve()), sha256=store.file_digest(path))


def pair(folder: Path, number: int, **changes: Any) -> PreferencePair:
    fields = {
        "id": f"p{number}",
        "example": f"p{number}",
        "patient": f"patient-{number}",
        "question": "Is there a made-up shadow?",
        "views": {"clean": (ref(folder, number),)},
        "replies": {
            "chosen": Reply(text="The lung is clear.", spans=(Span(start=12, end=17),), author="a"),
            "rejected": Reply(text="The lung is full of it.", spans=(Span(start=12, end=22),), author="b"),
        },
        "kind": "text",
    }
    return PreferencePair(**{**fields, **changes})


def corrupt(folder: Path, number: int, **changes: Any) -> PreferencePair:
    views = {"clean": (ref(folder, number),), "corrupt": (ref(folder, number + 100),)}
    return pair(folder, number, views=views, kind="joint", **changes)


def pairs_file(folder: Path, pairs: list[PreferencePair]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    store.write_lines(folder / "pairs.jsonl", pairs)
    return folder / "pairs.jsonl"


def read(name: str, path: Path) -> list[PreferencePair | Dropped]:
    """What a format's reader finds, images named relative to the file's folder."""
    album = Album(path.parent / "read", beside=path if path.is_dir() else path.parent)
    return list(FORMATS[name].read(path, album))


def write_json(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(lines if path.suffix == ".jsonl" else json.dumps(rows))
    return path


def said(one: PreferencePair | Dropped) -> dict[str, Any]:
    """What of a pair every format keeps: texts, contents of images, question."""
    assert isinstance(one, PreferencePair)
    return {
        "id": one.id,
        "question": one.question,
        "views": {name: tuple(held.sha256 for held in refs) for name, refs in one.views.items()},
        "replies": {name: reply.text for name, reply in one.replies.items()},
    }
