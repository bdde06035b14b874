"""One tree of errors, one form of message: what was given, what was expected, what to do.

Knows: the form. Does not know: who raises what.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MedprefError(Exception):
    """A one-line message: ``where: given; expected ...; do ...``. The command line prints it and exits with code 2."""

    def __init__(self, where: str, *, given: str, expected: str, todo: str) -> None:
        self.where, self.given, self.expected, self.todo = where, given, expected, todo
        text = f"{where}: {given}; expected {expected}; {todo}"
        super().__init__(" ".join(text.split()))


class DataError(MedprefError):
    """A row, an image or a file of the user's data is not as it should be."""


class RecipeError(MedprefError):
    """A recipe (or an override of one) contradicts itself or names what does not exist."""


class ModelError(MedprefError):
    """A model or checkpoint cannot be used as asked."""


class ArtifactError(MedprefError):
    """A run folder is not as the stage that reads it expects."""


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the nearest known words, or the list of all known words."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=2, cutoff=0.55)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(names) or 'none'}"
