"""Conversations of one question and one reply, in the spellings that peers use; anything longer is refused.

Knows: roles, content parts, ``<image>`` marks. Does not know: files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medpref.errors import DataError

MARK = "<image>"
ASKERS, REPLIERS = ("user", "human"), ("assistant", "gpt")


def text_of(content: Any, *, where: str) -> str:
    """The text of a message's content: a string, or parts of which the text ones count.

    >>> text_of([{"type": "image"}, {"type": "text", "text": "Is it?"}], where="")
    'Is it?'
    """
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and all(isinstance(part, Mapping) for part in content):
        return "".join(str(part.get("text") or "") for part in content if part.get("type") == "text")
    raise DataError(where, given=f"a {type(content).__name__}", expected="text or parts", todo="correct the row")


def turn(message: Any, *, where: str) -> tuple[str, str]:
    """``(role, text)`` of a message, spelled role and content or from and value; role is ours: ask or reply."""
    if isinstance(message, Mapping):
        role = str(message.get("role", message.get("from")))
        content = message.get("content", message.get("value"))
        if role in ASKERS + REPLIERS:
            return "ask" if role in ASKERS else "reply", text_of(content, where=where)
        given = f"a message of role {role!r}"
    else:
        given = f"a {type(message).__name__}"
    expected = f"a message of {', '.join(ASKERS + REPLIERS)}"
    raise DataError(where, given=given, expected=expected, todo="leave other roles out: a pair is one turn")


def read_turns(messages: Any, *, where: str) -> list[tuple[str, str]]:
    """The turns of a list of messages, or of one message."""
    listed = messages if isinstance(messages, list) else [messages]
    return [turn(message, where=where) for message in listed]


def one(turns: Sequence[tuple[str, str]], roles: str, *, where: str) -> list[str]:
    """The texts of turns that must have exactly these roles (such as ``"ask reply"``); DataError for others."""
    found = " ".join(role for role, _ in turns)
    if found != roles:
        given, todo = f"turns {found or 'none'}", "split longer conversations into their last turn"
        raise DataError(where, given=given, expected=roles, todo=todo)
    return [text for _, text in turns]


def reply_of(value: Any, *, where: str) -> str:
    """A reply written as text, as one message, or as a list of one message."""
    if isinstance(value, str):
        return value
    return one(read_turns(value, where=where), "reply", where=where)[0]


def bare(question: str, images: int, *, where: str) -> str:
    """The question without image marks; DataError where it has some, but not one an image."""
    marks = question.count(MARK)
    if marks not in (0, images):
        given, todo = f"{marks} {MARK} and {images} images", "give each image its mark, or none"
        raise DataError(where, given=given, expected="as many marks as images, or none", todo=todo)
    return question.replace(MARK, "").strip()


def asked(question: str, images: int) -> str:
    r"""The question after one mark an image, each on its line: what LLaVA's descendants expect.

    >>> asked("Is it?", 2)
    '<image>\n<image>\nIs it?'
    """
    return f"{MARK}\n" * images + question
