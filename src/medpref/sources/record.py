"""Raw records of published data sets: read strictly where we read, left alone where we do not.

Knows: JSON arrays, JSON lines, and how to name a record in an error. Does not know: any one data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict

from medpref import store
from medpref.errors import DataError
from medpref.schema import Frozen
from medpref.sources.pack_vqa import choices_of


def _text(value: Any) -> Any:
    """Numbers as text: some data sets write the answer 3 without quotes."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text)]


class Record(Frozen):
    """The keys of a raw record that are read; its other keys are ignored, for they are the authors' to add."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Kind = TypeVar("Kind", bound=Record)


def read_records(path: Path, cls: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """``(where, record)`` of a JSON array (``.json``) or of JSON lines; DataError names file, record and key."""
    if path.suffix == ".jsonl":
        for number, raw in store.iter_lines(path):
            yield f"{path}:{number}", store.parse_row(cls, raw, where=f"{path}:{number}")
        return
    content = store.read_json(path)
    if not isinstance(content, list):
        given, todo = f"a {type(content).__name__}", "give the file as the authors publish it"
        raise DataError(str(path), given=given, expected="a JSON array of records", todo=todo)
    for index, raw in enumerate(content):
        yield f"{path}[{index}]", store.parse_row(cls, raw, where=f"{path}[{index}]")


def need_file(path: Path, *, what: str) -> Path:
    """The path, if there is a file or folder at it; DataError says what should lie there."""
    if not path.exists():
        raise DataError(str(path), given="nothing there", expected=what, todo="check the folder against docs/data.md")
    return path


def closing(question: str, answer: str, *, said: str | None = None) -> Mapping[str, Any]:
    """``answer_type`` and ``choices`` of a question: closed only where its answer is one of two known choices.

    ``said`` is what the data set calls it; a question that it calls open stays open.

    >>> closing("Is there an effusion?", "No")
    {'answer_type': 'closed', 'choices': ('yes', 'no')}
    """
    known = (said or "CLOSED").strip().upper()
    choices = choices_of({"question": question, "answer": answer, "answer_type": known})
    return {"answer_type": "closed" if choices else "open", "choices": choices}


def polarity(kind: str, answer: str) -> dict[str, str]:
    """The tag ``polarity`` of a presence question that is answered yes or no; else no tag."""
    said = {"yes": "present", "no": "absent"}.get(answer.strip().casefold())
    return {"polarity": said} if kind == "presence" and said else {}
