"""Preference pairs from one format to another, whole or not at all: what the target cannot say is refused or dropped.

Knows: the formats by name. Does not know: models, recipes, runs.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from medpref import store
from medpref.errors import DataError, nearest
from medpref.interop import llamafactory, mmedpo, own, rrpo, swift, trl
from medpref.interop.album import Album
from medpref.interop.pair import CORRUPT_VIEW, WEIGHT, Dropped, unsaid
from medpref.schema import CORRUPT, REJECTED, PreferencePair

Reader = Callable[[Path, Album], Iterator[PreferencePair | Dropped]]
Writer = Callable[[Iterable[PreferencePair], Album], int]
DROPPED = "dropped.jsonl"


class Format(NamedTuple):
    """A format's reader and writer, and what it says beyond two texts about one view."""

    read: Reader
    write: Writer
    says: frozenset[str] = frozenset()


FORMATS = {
    "pairs": Format(own.read_pairs, own.write_pairs, frozenset({CORRUPT_VIEW, WEIGHT})),
    "rows": Format(own.read_rows_format, own.write_rows, frozenset({WEIGHT})),
    "trl": Format(trl.read, trl.write_folder),
    "trl_dataset": Format(trl.read, trl.write_dataset),
    "llamafactory": Format(llamafactory.read, llamafactory.write),
    "swift": Format(swift.read, swift.write, frozenset({CORRUPT_VIEW})),
    "mmedpo": Format(mmedpo.read, mmedpo.write, frozenset({CORRUPT_VIEW, WEIGHT})),
    "rrpo": Format(rrpo.read, rrpo.write),
}


class Converted(NamedTuple):
    """How many pairs were written, and what was dropped and why."""

    written: int
    dropped: list[Dropped]


def parse_spec(spec: str) -> tuple[str, Path]:
    """Format and path of ``FORMAT:PATH``; DataError names the nearest known format."""
    name, colon, path = spec.partition(":")
    if name not in FORMATS:
        raise DataError(spec, given=f"format {name!r}", expected="FORMAT:PATH", todo=nearest(name, FORMATS))
    if not (colon and path):
        raise DataError(spec, given="no path", expected="FORMAT:PATH", todo=f"write for example {name}:data")
    return name, Path(path)


def convert(source: str, target: str, *, images: Path | None = None, lossy: bool = False) -> Converted:
    """Read ``FORMAT:PATH``, write the new folder of ``FORMAT:PATH``; rows that make no pair go to ``dropped.jsonl``.

    ``images`` is the folder that image names are relative to (default: the file's own). DataError at the first row
    that is wrong, and at the first pair of which the target would lose something: ``lossy`` writes it without that.
    Nothing is left behind on an error.
    """
    (from_name, path), (to_name, out) = parse_spec(source), parse_spec(target)
    if out.exists():
        todo = "remove it, or name another folder"
        raise DataError(str(out), given="it exists", expected="a new folder", todo=todo)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    dropped: list[Dropped] = []
    album = Album(partial, beside=images or (path if path.is_dir() else path.parent))
    try:
        found = FORMATS[from_name].read(path, album)
        kept = _kept(_named_once(found), dropped, target=to_name, lossy=lossy)
        written = FORMATS[to_name].write(kept, album)
        if not written:
            todo = "check the format's name" if not dropped else dropped[0].reason
            raise DataError(str(path), given="no pair", expected="at least one", todo=todo)
    except DataError:
        shutil.rmtree(partial)
        raise
    if dropped:
        store.write_lines(partial / DROPPED, [{**one._asdict(), "step": "convert"} for one in dropped])
    partial.rename(out)
    return Converted(written, dropped)


def _named_once(found: Iterable[PreferencePair | Dropped]) -> Iterator[PreferencePair | Dropped]:
    """The pairs, later ones of an id renamed ``id#2`` and so on: peers do not keep ids apart."""
    seen: Counter[str] = Counter()
    for one in found:
        if isinstance(one, PreferencePair):
            seen[one.id] += 1
            if seen[one.id] > 1:
                name = f"{one.id}#{seen[one.id]}"
                one = one.model_copy(update={"id": name, "example": name if one.example == one.id else one.example})
        yield one


def _kept(
    found: Iterable[PreferencePair | Dropped], dropped: list[Dropped], *, target: str, lossy: bool
) -> Iterator[PreferencePair]:
    says = FORMATS[target].says
    for one in found:
        if isinstance(one, Dropped):
            dropped.append(one)
            continue
        lost = unsaid(one, says)
        if lost and not lossy:
            expected = f"nothing that {target} cannot say"
            todo = "choose another format, or leave it out with --lossy"
            raise DataError(f"pair {one.id}", given=f"has {' and '.join(lost)}", expected=expected, todo=todo)
        if CORRUPT_VIEW in lost and REJECTED not in one.replies:
            dropped.append(Dropped(one.id, f"only its images differ, and {target} has no second image"))
            continue
        views = {name: refs for name, refs in one.views.items() if name != CORRUPT or CORRUPT_VIEW not in lost}
        yield one.model_copy(update={"views": views, "weight": 1.0 if WEIGHT in lost else one.weight})
