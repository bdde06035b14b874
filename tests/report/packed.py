"""The page's data read back as its own script reads it, written independently."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def unpacked(held: dict[str, Any]) -> list[dict[str, Any]]:
    columns = list(held["columns"].items())
    entries = []
    for row in held["rows"]:
        entry = {}
        for (name, column), number in zip(columns, row, strict=True):
            if number >= 0:
                value = column["values"][number]
                entry[name] = [column["parts"][part] for part in value] if "parts" in column else value
        entries.append(entry)
    return entries


def data_of(page: Path, name: str) -> dict[str, Any]:
    """``data-NAME`` of a page with its entries."""
    found = re.search(rf'id="data-{name}">(.*?)</script>', page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found is not None
    held: dict[str, Any] = json.loads(found[1])
    return {**held, "entries": unpacked(held["entries"])} if "entries" in held else held
