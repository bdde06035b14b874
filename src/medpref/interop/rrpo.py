r"""RRPO's files (Sarkar et al. 2025): two replies, and copies of them with the differing phrases in ``<MASK>`` tags.

The record ``{"question": "<image>\nIs it?", "image": "a.png", "answer": "The lung is clear.", "pred": "The lung is
full.", "answer_masked": "The lung is <MASK> clear </MASK>.", "pred_masked": "The lung is <MASK> full </MASK>."}``
becomes a pair whose replies carry the masked phrases as spans. The format was made for videos; a record with a
``video`` is refused. It has neither weights nor a second image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from medpref import store
from medpref.errors import DataError
from medpref.interop.album import Album
from medpref.interop.pair import Dropped, Parts, build, need
from medpref.interop.rows import read_rows
from medpref.interop.turns import asked, bare
from medpref.schema import CHOSEN, CLEAN, REJECTED, PreferencePair, Reply, Span

OPEN, CLOSE = "<MASK>", "</MASK>"
_TAG = re.compile(r"</?MASK>")


def read(path: Path, album: Album) -> Iterator[PreferencePair | Dropped]:
    """The pairs of a file of records; DataError where a masked copy is not its reply."""
    for line in read_rows(path):
        row, where = line.row, line.where
        if row.get("video"):
            todo = "extract a frame and name it as image"
            raise DataError(f"{where}.video", given="a video", expected="an image", todo=todo)
        clean = album.read_all(need(row, ["images", "image"], where=where), where=f"{where}.image")
        replies = {CHOSEN: "answer", REJECTED: "pred"}
        said = {name: str(need(row, [key], where=where)).strip() for name, key in replies.items()}
        spans = {
            name: spans_of(said[name], str(row[f"{key}_masked"]), where=f"{where}.{key}_masked")
            for name, key in replies.items()
            if row.get(f"{key}_masked")
        }
        parts = Parts(
            id=str(row.get("sample_id", row.get("id", line.id))),
            question=bare(str(need(row, ["question"], where=where)), len(clean), where=where),
            chosen=said[CHOSEN],
            rejected=said[REJECTED],
            clean=clean,
            spans=spans,
            origin="rrpo",
        )
        yield build(parts, where=where)


def spans_of(text: str, masked: str, *, where: str) -> tuple[Span, ...]:
    """The character ranges of ``text`` that stand between tags in ``masked``, which differs in tags and blanks only.

    >>> spans_of("The lung is clear.", "The lung is <MASK> clear </MASK>.", where="")
    (Span(start=12, end=17),)
    """
    spans, place, inside, start = [], 0, False, 0
    for piece in re.split(r"(</?MASK>)", masked):
        if _TAG.fullmatch(piece):
            if inside == (piece == OPEN):
                raise DataError(
                    where, given=f"{piece} out of turn", expected=f"{OPEN} then {CLOSE}", todo="mend the tags"
                )
            inside, start = piece == OPEN, -1
            continue
        for letter in filter(lambda one: not one.isspace(), piece):
            while place < len(text) and text[place].isspace():
                place += 1
            if place == len(text) or text[place] != letter:
                given, expected = f"{masked[:60]!r}", f"{text[:60]!r} with tags"
                raise DataError(where, given=given, expected=expected, todo="mend the masked copy")
            if inside and start < 0:
                start = place
                spans.append(Span(start=start, end=place + 1))
            elif inside:
                spans[-1] = Span(start=start, end=place + 1)
            place += 1
    if inside or text[place:].strip():
        given = "a tag left open" if inside else f"{text[place:][:40]!r} is missing"
        raise DataError(where, given=given, expected=f"{text[:60]!r} with tags", todo="mend the masked copy")
    return tuple(spans)


def masked_copy(text: str, spans: Sequence[Span]) -> str:
    """The text with tags around its spans, which must not overlap.

    >>> masked_copy("The lung is clear.", [Span(start=12, end=17)])
    'The lung is <MASK>clear</MASK>.'
    """
    pieces, place = [], 0
    for span in sorted(spans, key=lambda one: one.start):
        pieces += [text[place : span.start], OPEN, text[span.start : span.end], CLOSE]
        place = span.end
    return "".join([*pieces, text[place:]])


def write(pairs: Iterable[PreferencePair], album: Album) -> int:
    """Write ``data.json`` beside ``images/``; returns the number of records."""
    rows = []
    for pair in pairs:
        names = album.copies(pair.views[CLEAN])
        replies = pair.replies
        chosen, rejected = replies[CHOSEN], replies.get(REJECTED, replies[CHOSEN])
        row: dict[str, object] = {"sample_id": pair.id, "question": asked(pair.question, len(names)), "src": "medpref"}
        row |= {"image": names[0]} if len(names) == 1 else {"images": names}
        rows.append({**row, **_side("answer", chosen), **_side("pred", rejected)})
    store.write_json(album.out / "data.json", rows)
    return len(rows)


def _side(key: str, reply: Reply) -> dict[str, str]:
    return {key: reply.text, f"{key}_masked": masked_copy(reply.text, reply.spans)}
