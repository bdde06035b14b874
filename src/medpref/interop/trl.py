"""TRL's vision preference data (TRL 1.16): columns ``images`` (or ``image``), ``prompt``, ``chosen``, ``rejected``.

The row ``{"images": [...], "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text":
"Is it?"}]}], "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "No"}]}], "rejected": [...]}``
becomes a pair of the clean view and two replies. Content may be plain text, and so may prompt and replies; without a
prompt, chosen and rejected are whole conversations. ``question`` stands for ``prompt`` in RLAIF-V's tables.

TRL shows one list of images to both replies and ignores a weight: a corrupt view cannot be written, a weight is
written to a column that only we read. The folder form is a Hugging Face image folder
(``load_dataset("imagefolder", data_dir=OUT)``), whose column ``images_file_names`` is loaded as ``images``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medpref import store
from medpref.errors import DataError
from medpref.interop.album import Album
from medpref.interop.pair import Dropped, Parts, build, need, number, texts
from medpref.interop.rows import read_rows
from medpref.interop.turns import bare, one, read_turns, reply_of
from medpref.schema import CLEAN, PreferencePair

IMAGES = ("images", "images_file_names", "image", "image_file_name", "file_name")


def read(path: Path, album: Album) -> Iterator[PreferencePair | Dropped]:
    """The pairs of a JSON file, an image folder, parquet files or a dataset saved to disk."""
    for line in read_rows(path):
        row, where = line.row, line.where
        clean = album.read_all(need(row, IMAGES, where=where), where=f"{where}.images")
        question, chosen, rejected = conversation(row, where=where)
        parts = Parts(
            id=str(row.get("id") or line.id),
            question=bare(question, len(clean), where=f"{where}.prompt"),
            chosen=chosen,
            rejected=rejected,
            clean=clean,
            origin="trl",
            weight=number(row["weight"], where=f"{where}.weight") if row.get("weight") is not None else 1.0,
            patient=str(row.get("patient") or ""),
            kind=str(row.get("kind") or ""),
        )
        yield build(parts, where=where)


def conversation(row: Mapping[str, Any], *, where: str) -> tuple[str, str, str]:
    """Question, chosen and rejected text of a row, its prompt explicit or repeated in both conversations."""
    chosen, rejected = (need(row, [key], where=where) for key in ("chosen", "rejected"))
    prompt = row.get("prompt") if row.get("prompt") is not None else row.get("question")
    if prompt is None:
        asked, first = one(read_turns(chosen, where=f"{where}.chosen"), "ask reply", where=f"{where}.chosen")
        again, second = one(read_turns(rejected, where=f"{where}.rejected"), "ask reply", where=f"{where}.rejected")
        if asked != again:
            given, todo = "two different questions", "write the prompt apart"
            raise DataError(where, given=given, expected="one question for both replies", todo=todo)
        return asked, first, second
    if not isinstance(prompt, str):
        prompt = one(read_turns(prompt, where=f"{where}.prompt"), "ask", where=f"{where}.prompt")[0]
    return prompt, reply_of(chosen, where=f"{where}.chosen"), reply_of(rejected, where=f"{where}.rejected")


def row_of(pair: PreferencePair, images: list[str]) -> dict[str, Any]:
    """The pair as TRL's row, without its image column."""
    chosen, rejected = texts(pair)
    marks: list[dict[str, Any]] = [{"type": "image", "text": None} for _ in images]
    return {
        "prompt": [{"role": "user", "content": [*marks, {"type": "text", "text": pair.question}]}],
        "chosen": [{"role": "assistant", "content": [{"type": "text", "text": chosen}]}],
        "rejected": [{"role": "assistant", "content": [{"type": "text", "text": rejected}]}],
        "id": pair.id,
        "patient": pair.patient,
        "kind": pair.kind,
        "weight": pair.weight,
    }


def write_folder(pairs: Iterable[PreferencePair], album: Album) -> int:
    """Write ``metadata.jsonl`` beside ``images/``; returns the number of rows."""
    rows = []
    for pair in pairs:
        names = album.copies(pair.views[CLEAN])
        rows.append({"images_file_names": names, **row_of(pair, names)})
    return store.write_lines(album.out / "metadata.jsonl", rows)


def write_dataset(pairs: Iterable[PreferencePair], album: Album) -> int:
    """Write a dataset as ``save_to_disk`` does, images inside; needs the extra ``datasets``."""
    try:
        import datasets
    except ImportError:
        todo = "pip install 'medpref[datasets]', or write the format trl"
        raise DataError(str(album.out), given="a dataset to write", expected="datasets", todo=todo) from None
    datasets.disable_progress_bars()
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        files = [str(ref.locate(album.out).resolve()) for ref in pair.views[CLEAN]]
        rows.append({"images": [{"bytes": None, "path": file} for file in files], **row_of(pair, files)})
    text = datasets.Value("string")
    messages = datasets.List({"role": text, "content": datasets.List({"type": text, "text": text})})
    features = datasets.Features(
        {
            "images": datasets.List(datasets.Image()),
            **dict.fromkeys(("prompt", "chosen", "rejected"), messages),
            **dict.fromkeys(("id", "patient", "kind"), text),
            "weight": datasets.Value("float64"),
        }
    )
    datasets.Dataset.from_list(rows, features=features).save_to_disk(str(album.out))
    return len(rows)
