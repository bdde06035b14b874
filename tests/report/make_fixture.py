"""Makes ``tests/report/fixtures/run.tar.gz``: what a run of this version leaves behind, without weights and few images.

    python -m tests.report.make_fixture

carries out a small run on synthetic films (two minutes on two cores) and packs its text with the images of the
questions that are evaluated. Make it again where the layout of a run folder changes, and say so in the commit: the test
that reads it (``test_kept_run.py``) is what tells that older runs can no longer be read.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from medpref import store
from medpref.schema import Example, OwnReply

FIXTURE = Path(__file__).parent / "fixtures" / "run.tar.gz"
PAIRS = 12
KEPT = {".json", ".jsonl"}
SOURCE = "phantom:studies=24,validation=0,test=10,studies_per_patient=1,size_px=64"
OVERRIDES = (
    "sft.steps=20",
    "sft.batch=8",
    "train.steps=12",
    "train.batch=4",
    "evaluation.limit=40",
    "evaluation.robustness=true",
    "evaluation.robustness_limit=24",
    "evaluation.attention=true",
)


def main() -> None:
    """Carry out the run and write the fixture."""
    from medpref.run import RunConfig, carry_out

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        config = RunConfig(recipes=("mdpo",), source=SOURCE, policy="tiny:llava-mistral", overrides=OVERRIDES)
        carry_out(config, root)
        store.write_bytes(FIXTURE, packed(root))


def packed(root: Path) -> bytes:
    """The run folder's text and few images as a compressed archive; equal folders give equal bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in members(root):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    held = io.BytesIO()
    with gzip.GzipFile(fileobj=held, mode="wb", mtime=0) as file:
        file.write(plain.getvalue())
    return held.getvalue()


def members(root: Path) -> Iterator[tuple[str, bytes]]:
    """``(name, bytes)`` of what is kept: JSON, the first pairs, and the images that evaluated questions show."""
    for path in sorted(path for path in root.rglob("*") if path.suffix in KEPT):
        name = path.relative_to(root).as_posix()
        if name.startswith("train/") and path.name not in {"steps.jsonl", store.MANIFEST}:
            continue
        lines = path.read_bytes().splitlines(keepends=True)
        yield name, b"".join(lines[:PAIRS] if path.name in {"pairs.jsonl", "dropped.jsonl"} else lines)
    replies = store.read_lines(root / "eval" / "base" / "replies.jsonl", OwnReply)
    asked = {reply.example for reply in replies}
    examples = [e for e in store.read_lines(root / "examples" / "examples.jsonl", Example) if e.id in asked]
    for path in sorted({image.path for example in examples for image in example.images}):
        yield path, (root / path).read_bytes()


if __name__ == "__main__":
    main()
