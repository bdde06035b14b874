"""Forms (pydantic models): the JSON Schema that a service is sent, and what a model's text says in one. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

AGAIN = "That is not what was asked for ({reason}). Answer again with the JSON object alone."
Message = dict[str, str]
UNSENT = frozenset(
    {"title", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern"}
)
"""Keys that some services reject in a strict schema; the bounds are checked when the answer is read."""


def schema_of(form: type[BaseModel]) -> dict[str, Any]:
    """The form's JSON Schema as strict services accept it: every key required, no others, no bounds."""
    cleaned = _clean(form.model_json_schema(), named=False)
    assert isinstance(cleaned, dict)
    return {**cleaned, "required": list(form.model_fields), "additionalProperties": False}


def _clean(value: Any, *, named: bool) -> Any:
    """Without the unsent keys; ``named``: the keys of this mapping are names of fields, not of the schema language."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if named or key not in UNSENT}
        return {key: _clean(item, named=key in ("properties", "$defs") and not named) for key, item in kept.items()}
    return [_clean(item, named=False) for item in value] if isinstance(value, list) else value


def read_form(text: str, form: type[BaseModel]) -> tuple[BaseModel | None, str]:
    """``(value, "")``, or None and what is wrong with a model's text.

    The text must hold exactly one JSON object (a fence or words around it are passed over, and so is what stands before
    a final ``</think>``). Types are checked strictly: the text "0.8" is not the number 0.8.
    """
    found = list(_objects(text.rpartition("</think>")[2]))
    if len(found) != 1:
        return None, f"{'no' if not found else len(found)} JSON object{'s' * (len(found) > 1)} in the answer"
    try:
        return form.model_validate_json(found[0], strict=True), ""
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the object"
        return None, f"not the asked form: {key}: {first['msg'].removeprefix('Value error, ')}"


def _objects(text: str) -> Iterator[str]:
    """The JSON objects of a text, outermost ones, in order."""
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (json.JSONDecodeError, RecursionError):
            end = place + 1
        else:
            if isinstance(value, dict):
                yield text[place:end]
        place = text.find("{", end)


def ask_again(messages: list[Message], text: str, reason: str) -> list[Message]:
    """The conversation in which a model is told what was wrong with its answer: the question, that answer, why not."""
    answer = {"role": "assistant", "content": text or "(nothing)"}
    return [messages[0], answer, {"role": "user", "content": AGAIN.replace("{reason}", reason)}]
