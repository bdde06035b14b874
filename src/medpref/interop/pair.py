"""A peer's row as a preference pair, and what of a pair a peer's format cannot say."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from medpref.errors import DataError
from medpref.schema import CHOSEN, CLEAN, CORRUPT, REJECTED, ImageRef, PreferencePair, Reply, Span

CORRUPT_VIEW, WEIGHT = "a corrupt view", "a weight"


class Dropped(NamedTuple):
    """A row that is no pair, and why."""

    example: str
    reason: str


class Parts(NamedTuple):
    """What a peer's row says of a pair. ``origin`` names the format; an empty ``corrupt`` is no corrupt view."""

    id: str
    question: str
    chosen: str
    rejected: str
    clean: tuple[ImageRef, ...]
    origin: str
    corrupt: tuple[ImageRef, ...] = ()
    weight: float = 1.0
    patient: str = ""
    kind: str = ""
    spans: Mapping[str, tuple[Span, ...]] = {}
    provenance: Mapping[str, Any] = {}


def build(parts: Parts, *, where: str) -> PreferencePair | Dropped:
    """The pair of a row; DataError names what is wrong with it.

    Where both replies are the same text and the images differ, the pair has one reply: the image is what is preferred.
    Where neither differs the row is dropped.
    """
    replies = {CHOSEN: parts.chosen.strip(), REJECTED: parts.rejected.strip()}
    same_text, same_view = replies[CHOSEN] == replies[REJECTED], parts.corrupt in ((), parts.clean)
    if same_text and same_view:
        return Dropped(parts.id, "chosen and rejected are the same text about the same image")
    if same_text:
        del replies[REJECTED]
    views = {CLEAN: parts.clean} if same_view else {CLEAN: parts.clean, CORRUPT: parts.corrupt}
    kind = parts.kind or ("image" if same_text else "text" if same_view else "joint")
    try:
        return PreferencePair(
            id=parts.id,
            example=parts.id,
            patient=parts.patient or f"image:{parts.clean[0].sha256[:16]}",
            question=parts.question.strip(),
            views=views,
            replies={
                name: Reply(text=text, spans=tuple(parts.spans.get(name, ())), author=parts.origin)
                for name, text in replies.items()
            },
            weight=parts.weight,
            kind=kind,
            provenance={"format": parts.origin, **parts.provenance},
        )
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "(row)"
        given = f"{key} = {first.get('input')!r}"[:80]
        raise DataError(where, given=given, expected=first["msg"], todo="correct or remove the row") from None


def unsaid(pair: PreferencePair, says: Collection[str]) -> list[str]:
    """What of the pair a format that says only ``says`` would lose; spans are not counted, for a diff remakes them."""
    lost = []
    if CORRUPT in pair.views and CORRUPT_VIEW not in says:
        lost.append(CORRUPT_VIEW)
    if pair.weight != 1.0 and WEIGHT not in says:
        lost.append(WEIGHT)
    return lost


def texts(pair: PreferencePair) -> tuple[str, str]:
    """The chosen and the rejected text; where only the images differ, both are the chosen one."""
    chosen = pair.replies[CHOSEN].text
    return chosen, pair.replies[REJECTED].text if REJECTED in pair.replies else chosen


def number(value: Any, *, where: str) -> float:
    """A weight as a number; DataError for anything else (the pair itself refuses negative and infinite ones)."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise DataError(where, given=f"{value!r}", expected="a number", todo="correct or remove the row")


def need(row: Mapping[str, Any], keys: Sequence[str], *, where: str) -> Any:
    """The value of the first of these keys that a row has; DataError where it has none."""
    for key in keys:
        if row.get(key) is not None:
            return row[key]
    given, todo = f"keys {', '.join(sorted(map(str, row)))}"[:120], "check the format's name"
    raise DataError(where, given=given, expected=" or ".join(map(repr, keys)), todo=todo)
