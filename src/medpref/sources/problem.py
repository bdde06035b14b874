"""What is wrong with one row of the user's data, as a value: all of them can be listed, or one raised as an error."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from medpref.errors import DataError


class Problem(NamedTuple):
    """``name`` is the kind of problem (for counting), ``where`` is ``file:row:key``; its text is one line."""

    name: str
    where: str
    given: str
    expected: str
    todo: str

    def error(self) -> DataError:
        """The problem as an error to raise."""
        return DataError(self.where, given=self.given, expected=self.expected, todo=self.todo)

    def __str__(self) -> str:
        return str(self.error())


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Make a DataError raised inside name the row and key that led to it."""
    try:
        yield
    except DataError as error:
        given = f"{error.where}: {error.given}"
        raise DataError(where, given=given, expected=error.expected, todo=error.todo) from None


def counts(problems: Iterable[Problem]) -> dict[str, int]:
    """How many problems there are of each name, the most frequent first."""
    return dict(Counter(problem.name for problem in problems).most_common())
