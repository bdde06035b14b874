"""Which published data set a folder holds, by the files its authors name; and what is wrong with it as a whole.

Knows: layouts, and what loading says. Does not know: rows of our own format (`checks`).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpref.arrow import is_table
from medpref.errors import DataError
from medpref.schema import Example
from medpref.sources.hub import Hub
from medpref.sources.iu_xray import IuXray
from medpref.sources.path_vqa import PathVqa
from medpref.sources.problem import Problem
from medpref.sources.slake import Slake
from medpref.sources.splits import check_examples, leaks
from medpref.sources.vqa_med import PARTS, VqaMed
from medpref.sources.vqa_rad import FILE, VqaRad


def recognise(folder: Path) -> Any:
    """The source of the data set in a folder, with its default options; None where it is none that we know.

    MIMIC-CXR is never recognised: its layout is IU X-ray's, and its loader only says more.
    """
    if (folder / FILE).exists():
        return VqaRad(folder=str(folder))
    if (folder / "imgs").is_dir() and (folder / "train.json").exists():
        return Slake(folder=str(folder), language="both")
    if (folder / "qas").is_dir() and (folder / "images").is_dir():
        return PathVqa(folder=str(folder))
    if any((folder / part.folder).is_dir() for part in PARTS):
        return VqaMed(folder=str(folder))
    if (folder / "annotation.json").exists():
        return IuXray(folder=str(folder))
    rows = any(folder.glob("*.jsonl"))
    return Hub(folder=str(folder)) if is_table(folder) and not rows else None


def whole_problems(source: Any) -> Iterator[Problem]:
    """The first problem that loading meets; else what the examples say together: ids, splits, and leaks by kind."""
    where = str(source.folder)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            examples = list(source.load(Path(scratch), seed=0, prefix=""))
            check_examples(examples, where=where)
        except DataError as error:
            yield Problem(source.kind, error.where, error.given, error.expected, error.todo)
            return
    yield from leak_problems(examples, where=where)


def leak_problems(examples: list[Example], *, where: str) -> Iterator[Problem]:
    """One problem for patients and one for images that stand in several splits, with how many and in which."""
    found = Counter((leak.what, leak.splits) for leak in leaks(examples))
    for (what, splits), number in sorted(found.items()):
        given = f"{number} {what}{'s' * (number != 1)} in {' and '.join(splits)}"
        todo = "split by patient or by image if the source can; else report it beside every number"
        yield Problem(f"leaked {what}", where, given, f"each {what} in one split", todo)
