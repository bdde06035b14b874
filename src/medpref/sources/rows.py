"""One row of our own format, read strictly: every complaint about it at once, each naming file, row and key.

A raw row (paths are relative to the file; everything after ``answer`` may be left out)::

    {"image": "images/p1.png", "question": "Is there an effusion?", "answer": "no", "split": "test", "patient": "p1"}

becomes a `Row`. With ``"rejected": "yes"`` (and perhaps ``"weight": 0.8``) it is a preference pair as well.
``images`` (a list) replaces ``image`` for a study of several. A region is ``{"box": [left, top, right, bottom],
"label": ..., "mask": "masks/p1.png"}`` with a box, a mask (a file, non-zero inside, or run lengths), or both.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from medpref.errors import nearest
from medpref.schema import Fact, Frozen, Mask, Split
from medpref.sources.problem import Problem

PLACEHOLDER = "<image>"
YES_NO = ("yes", "no")
LISTS = ("images", "choices")


class RowRegion(Frozen):
    """A region as a user writes it."""

    box: tuple[int, int, int, int] | None = None
    label: str = ""
    mask: str | Mask | None = None
    origin: str = ""
    confidence: float | None = Field(default=None, ge=0, le=1)
    image: int = Field(default=0, ge=0)

    @field_validator("box")
    @classmethod
    def _ordered(cls, box: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if box is not None and not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
            raise ValueError("[left, top, right, bottom] in pixels, half-open, left < right and top < bottom")
        return box


class Row(Frozen):
    """A question about a study as a user writes it; `jsonl.Jsonl` says what the missing keys default to."""

    id: str | None = None
    image: str | None = None
    images: tuple[str, ...] = ()
    question: str
    answer: str
    split: Split | None = None
    patient: str | None = None
    kind: str = "open"
    answer_type: Literal["closed", "open", "report"] | None = None
    choices: tuple[str, ...] = ()
    regions: tuple[RowRegion, ...] = ()
    facts: tuple[Fact, ...] = ()
    counterfactual: tuple[str, ...] = ()
    counterfactual_answer: str | None = None
    tags: Mapping[str, str] = Field(default_factory=dict)
    credentialed: bool = False
    rejected: str | None = None
    weight: float = Field(default=1.0, ge=0)

    @field_validator("id", "patient", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("question", "answer", "rejected")
    @classmethod
    def _said(cls, text: str | None) -> str | None:
        if text is not None and not text.replace(PLACEHOLDER, "").strip():
            raise ValueError("text that is not empty")
        return text

    @property
    def files(self) -> tuple[str, ...]:
        """The images of the study, as written."""
        return (self.image,) if self.image is not None else self.images


def read_row(raw: Any, *, where: str) -> tuple[Row | None, list[Problem]]:
    """The row, or None and everything that is wrong with it; ``where`` is ``file:row``."""
    problems = parse_problems(Row, raw, where=where)
    if problems:
        return None, problems
    row = Row.model_validate(raw)
    if (row.image is None) == (not row.images):
        given = "both image and images" if row.images else "neither image nor images"
        todo = "write image for one file, images for several"
        return None, [Problem("image key", f"{where}:image", given, "one of the two", todo)]
    return row, list(_inner_problems(row, where))


def _inner_problems(row: Row, where: str) -> Iterator[Problem]:
    """What one row says against itself."""
    yield from placeholder_problems(row.question, len(row.files), where=where)
    for index, region in enumerate(row.regions):
        key = f"{where}:regions.{index}"
        if region.box is None and region.mask is None:
            yield Problem("empty region", key, "neither box nor mask", "at least one of them", "give the region a box")
        if region.image >= len(row.files):
            given, expected = f"image = {region.image}", f"an index below {len(row.files)}"
            yield Problem("region image", f"{key}.image", given, expected, "count the row's images from 0")
    for index, fact in enumerate(row.facts):
        if fact.image is not None and fact.image >= len(row.files):
            key, given = f"{where}:facts.{index}.image", f"image = {fact.image}"
            expected = f"an index below {len(row.files)}"
            yield Problem("fact image", key, given, expected, "count the row's images from 0")
    if row.choices and row.answer.strip().casefold() not in {choice.strip().casefold() for choice in row.choices}:
        expected = f"one of the choices {', '.join(map(repr, row.choices))}"
        todo = "add it to the choices, or leave choices out"
        yield Problem("answer not a choice", f"{where}:answer", f"answer = {row.answer!r}", expected, todo)


def placeholder_problems(question: str, images: int, *, where: str) -> Iterator[Problem]:
    """A complaint where a question has ``<image>`` marks, but not one an image (none at all is right)."""
    marks = question.count(PLACEHOLDER)
    if marks not in (0, images):
        given = f"{marks} {PLACEHOLDER} in the question, {images} image{'s' if images != 1 else ''}"
        todo = f"leave {PLACEHOLDER} out: the chat template places images"
        yield Problem("placeholder count", f"{where}:question", given, "none, or one for each image", todo)


def parse_problems(cls: type[BaseModel], raw: Any, *, where: str) -> list[Problem]:
    """Everything that keeps a parsed JSON value from being a ``cls``, numbers that are not finite included."""
    if not isinstance(raw, dict):
        given, todo = f"a {type(raw).__name__}", "write one {...} a line"
        return [Problem("not an object", where, given, "a JSON object", todo)]
    problems = []
    for loc, number in _infinite(raw):
        key, todo = ".".join(map(str, loc)), "correct or remove the row"
        name = "NaN weight" if key == "weight" else "number not finite"
        problems.append(Problem(name, f"{where}:{key}", f"{key} = {number}", "a finite number", todo))
    try:
        cls.model_validate(raw)
    except ValidationError as error:
        entries = [entry for entry in error.errors() if entry["type"] != "finite_number"]
        problems += [_problem(cls, entry, where) for entry in entries]
    return problems


def _infinite(value: Any, key: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], float]]:
    """Every number of a JSON value that is NaN or infinite, with its key."""
    if isinstance(value, float) and not math.isfinite(value):
        yield key, value
    elif isinstance(value, dict | list):
        for inner, held in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _infinite(held, (*key, inner))


def _problem(cls: type[BaseModel], entry: Mapping[str, Any], where: str) -> Problem:
    key = ".".join(map(str, entry["loc"])) or "(row)"
    at = f"{where}:{key}"
    if entry["type"] == "extra_forbidden":
        known = _known(cls, entry["loc"])
        name = str(entry["loc"][-1])
        return Problem("unknown key", at, f"unknown key {name!r}", "a known key", nearest(name, known))
    if entry["type"] == "missing":
        return Problem("missing key", at, f"no {key!r}", f"the key {key!r}", "add it")
    expected = str(entry["msg"]).removeprefix("Value error, ")
    name = f"empty {key}" if key in ("question", "answer") and not str(entry["input"]).strip() else f"bad {key}"
    shown = repr(entry["input"])
    given = f"{key} = {shown if len(shown) <= 80 else shown[:77] + '...'}"
    return Problem(name, at, given, expected, f"correct {key!r} in this row")


def _known(cls: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """The keys allowed beside an unknown one."""
    nested: dict[str, type[BaseModel]] = {"regions": RowRegion, "facts": Fact}
    inner = nested.get(str(loc[0])) if len(loc) > 1 else cls
    return sorted(inner.model_fields) if inner is not None else []


def iter_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """``(line number, row)`` of a JSON-lines or CSV file; a line that is not JSON comes as a `Problem`."""
    if path.suffix.casefold() == ".csv":
        yield from _csv_rows(path)
        return
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    where, todo = f"{path}:{number}", "mend or remove the line"
                    yield number, Problem("not JSON", where, f"{error.msg} (column {error.colno})", "JSON", todo)


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a CSV with our keys as its header; empty cells are absent, lists are JSON or parted by ``|``."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for cells in reader:
            row: dict[str, Any] = {}
            for key, cell in cells.items():
                if key is None:
                    row["(cells beyond the header)"] = cell
                elif cell:
                    row[key] = _cell(key, cell)
            yield reader.line_num, row


def _cell(key: str, cell: str) -> Any:
    if cell[0] in "[{":
        try:
            return json.loads(cell)
        except json.JSONDecodeError:
            return cell
    return [part.strip() for part in cell.split("|")] if key in LISTS else cell
