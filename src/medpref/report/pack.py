"""Data inside the page, small: entries as columns whose repeated values are written once, as JSON a script may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medpref import store


def packed(held: Mapping[str, Any]) -> dict[str, Any]:
    """``held`` with its ``entries`` packed (see :func:`columns_of`); ``dom.js`` makes the entries of them again."""
    return {**held, "entries": columns_of(held["entries"])}


def columns_of(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``{"columns": {name: {"values", "parts"}}, "rows"}``: a row has the number of its value in each column.

    A column whose values are all lists has ``parts``: its values are lists of numbers of parts, each written once. A
    name that an entry lacks has the number -1. Columns are in the order of their names, as JSON is written.
    """
    names = sorted({name for entry in entries for name in entry})
    columns = {name: _column([entry[name] for entry in entries if name in entry]) for name in names}
    places = {name: iter(numbers) for name, (_, numbers) in columns.items()}
    rows = [[next(places[name]) if name in entry else -1 for name in names] for entry in entries]
    return {"columns": {name: column for name, (column, _) in columns.items()}, "rows": rows}


def _column(values: Sequence[Any]) -> tuple[dict[str, Any], list[int]]:
    """The column's distinct values and the number of each of ``values`` among them."""
    if not all(isinstance(value, list) for value in values):
        distinct, numbers = _numbered(values)
        return {"values": distinct}, numbers
    parts, flat = _numbered([part for value in values for part in value])
    numbered = iter(flat)
    distinct, numbers = _numbered([[next(numbered) for _ in value] for value in values])
    return {"values": distinct, "parts": parts}, numbers


def _numbered(values: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Distinct values in the order of their first appearance, and each value's number among them."""
    known: dict[str, int] = {}
    numbers = [known.setdefault(store.to_json(value), len(known)) for value in values]
    first = {number: value for value, number in zip(reversed(values), reversed(numbers), strict=True)}
    return [first[number] for number in range(len(known))], numbers


def script_json(value: Any) -> str:
    """JSON that may stand inside a ``<script>`` element: nothing in it can end the element or start a comment."""
    text = store.to_json(value)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
