"""What is wrong with one row and the files it names: rows of our own format, ``examples.jsonl``, ``pairs.jsonl``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from medpref import store
from medpref.errors import DataError
from medpref.imaging.decode import read_image
from medpref.schema import CHOSEN, CLEAN, REJECTED, Example, ImageRef, PreferencePair
from medpref.sources.problem import Problem
from medpref.sources.row_regions import region_from
from medpref.sources.rows import parse_problems, placeholder_problems, read_row


class Look(NamedTuple):
    """A readable image file: its hash and its size in pixels."""

    sha256: str
    height: int
    width: int


class Images:
    """Image files looked at, each once."""

    def __init__(self) -> None:
        self._known: dict[Path, Look | DataError] = {}

    def look(self, path: Path) -> Look | DataError:
        """The image's hash and size, or why it cannot be read."""
        if path not in self._known:
            try:
                image = read_image(path)
                self._known[path] = Look(store.file_digest(path), image.height, image.width)
            except DataError as error:
                self._known[path] = error
        return self._known[path]


class Standing(NamedTuple):
    """Where a row stands among the others: its id, its split and patient (None: not said), its images' hashes."""

    id: str | None
    split: str | None
    patient: str | None
    images: tuple[str, ...]


Checked = tuple[list[Problem], Standing | None]


def check_row(raw: Any, *, where: str, folder: Path, images: Images) -> Checked:
    """Problems of a row of our own format, and where it stands."""
    row, problems = read_row(raw, where=where)
    if row is None:
        return problems, None
    key = "image" if row.image is not None else "images"
    looks = [images.look(folder / name) for name in row.files]
    problems += _file_problems(looks, f"{where}:{key}")
    problems += _file_problems([images.look(folder / name) for name in row.counterfactual], f"{where}:counterfactual")
    for index, region in enumerate(row.regions):
        look = looks[region.image] if region.image < len(looks) else None
        if isinstance(look, Look) and (region.box is not None or region.mask is not None):
            try:
                region_from(region, (look.height, look.width), folder)
            except DataError as error:
                problems.append(_problem("region", f"{where}:regions.{index}", error))
    hashes = tuple(look.sha256 for look in looks if isinstance(look, Look))
    return problems, Standing(row.id, row.split, row.patient, hashes)


def check_example(raw: Any, *, where: str, root: Path, images: Images) -> Checked:
    """Problems of a row of ``examples.jsonl``, image paths relative to the run folder ``root``."""
    problems = parse_problems(Example, raw, where=where)
    if problems:
        return problems, None
    example = Example.model_validate(raw)
    problems += placeholder_problems(example.question, len(example.images), where=where)
    problems += _ref_problems([*example.images, *example.counterfactual], f"{where}:images", root, images)
    hashes = tuple(image.sha256 for image in example.images)
    return problems, Standing(example.id, example.split, example.patient, hashes)


def check_pair(raw: Any, *, where: str, root: Path, images: Images) -> Checked:
    """Problems of a row of ``pairs.jsonl``, image paths relative to the run folder ``root``."""
    problems = parse_problems(PreferencePair, raw, where=where)
    if problems:
        return problems, None
    pair = PreferencePair.model_validate(raw)
    if not pair.question.strip():
        todo = "write the question, or remove the row"
        problems.append(Problem("empty question", f"{where}:question", "question = ''", "a question", todo))
    problems += placeholder_problems(pair.question, len(pair.views[CLEAN]), where=where)
    for name, view in pair.views.items():
        problems += _ref_problems(view, f"{where}:views.{name}", root, images)
    if REJECTED in pair.replies and pair.replies[REJECTED].text.strip() == pair.replies[CHOSEN].text.strip():
        given, todo = "chosen and rejected are the same text", "remove the row, or leave 'rejected' out"
        if len(pair.views) == 1:
            problems.append(Problem("identical pair", f"{where}:replies", given, "two replies that differ", todo))
    return problems, Standing(pair.id, None, pair.patient, ())


def _ref_problems(refs: Iterable[ImageRef], where: str, root: Path, images: Images) -> Iterator[Problem]:
    """Files that are missing, unreadable, or no longer what the row's hash says."""
    for ref in refs:
        look = images.look(ref.locate(root))
        if isinstance(look, DataError):
            yield from _file_problems([look], where)
        elif look.sha256 != ref.sha256:
            given = f"{ref.path} with content {look.sha256[:12]}"
            todo = "restore the file, or run the stage again"
            yield Problem("changed image", where, given, f"content {ref.sha256[:12]}", todo)


def _file_problems(looks: Iterable[Look | DataError], where: str) -> Iterator[Problem]:
    for look in looks:
        if isinstance(look, DataError):
            yield _problem("missing file" if look.given == "no such file" else "unreadable image", where, look)


def _problem(name: str, where: str, error: DataError) -> Problem:
    return Problem(name, where, f"{error.where}: {error.given}", error.expected, error.todo)
