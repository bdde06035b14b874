"""Answers from a file that an earlier run wrote: the same questions get the same answers, without a model. No torch."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from medpref.errors import ModelError
from medpref.models.chat import ChatAnswer, ChatRequest, Keep, Usage
from medpref.models.chat_store import Entry, read_answers
from medpref.schema import Frozen


class Replay(Frozen):
    """The answers in ``file`` (or in the ``answers-*.jsonl`` of a folder); ``model`` tells several models' apart."""

    kind: Literal["replay"] = "replay"
    file: str
    model: str = ""

    @property
    def identity(self) -> str:
        return f"replay:{self.file}" + (f"#{self.model}" if self.model else "")

    @property
    def outside(self) -> bool:
        return False

    @functools.cached_property
    def held(self) -> Mapping[str, Entry]:
        """The answers by request; ModelError where there are none, or of several models."""
        path = Path(self.file).expanduser()
        files = sorted(path.glob("answers-*.jsonl")) if path.is_dir() else [path] if path.is_file() else []
        entries = [entry for file in files for _, entry in read_answers(file)]
        models = sorted({str(entry["model"]) for entry in entries if self._means(str(entry["model"]))})
        if len(models) != 1:
            given = f"answers of {', '.join(models)}" if models else f"no answers {self.model and 'of ' + self.model}"
            todo = "name the one: replay:FILE#MODEL" if models else "check the path"
            raise ModelError(f"--judge {self.identity}", given=given, expected="those of one model", todo=todo)
        return {entry["request"]: entry for entry in entries if entry["model"] == models[0]}

    def _means(self, identity: str) -> bool:
        named = (identity, identity.partition("#")[2], identity.removeprefix("local:").partition("~")[0])
        return not self.model or self.model in named

    def ask(self, requests: Sequence[ChatRequest], keep: Keep | None = None) -> Iterator[ChatAnswer]:
        for place, request in enumerate(requests):
            answer = _played(place, request, self.held.get(request.key), self.identity)
            if keep is not None:
                keep(answer)
            yield answer


def _played(place: int, request: ChatRequest, entry: Entry | None, identity: str) -> ChatAnswer:
    if entry is None:
        return ChatAnswer(place, None, f"no answer to this question in {identity}", model=identity, lasting=False)
    held = entry["value"]
    value = None if held is None else request.form.model_validate_json(json.dumps(held), strict=True)
    return ChatAnswer(place, value, entry["reason"], entry["text"], entry["model"], Usage(**entry["usage"]))
