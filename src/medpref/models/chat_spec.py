"""What ``--judge`` names, as a chat: ``rules``, ``local:MODEL``, ``openai:URL#MODEL``, ``replay:FILE``. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medpref.errors import RecipeError, nearest
from medpref.models.chat_cache import CachedChat
from medpref.models.chat_local import Local
from medpref.models.chat_replay import Replay
from medpref.models.chat_rules import Rules
from medpref.models.chat_service import Service
from medpref.models.chat_store import AnswerStore
from medpref.recipe import set_key
from medpref.registry import build
from medpref.schema import Frozen

KINDS: dict[str, type[Frozen]] = {"rules": Rules, "local": Local, "openai": Service, "replay": Replay}
FORMS = "rules, local:MODEL, openai:URL#MODEL or replay:FILE"


def parse_chat(spec: str, overrides: Sequence[str] = (), *, mine: bool = False) -> Any:
    """The back end of a spec, with ``key=value`` settings that its kind has; RecipeError where it cannot be meant.

    >>> parse_chat("openai:http://localhost:8000/v1#qwen", ["concurrency=4"]).concurrency
    4
    """
    where = f"--judge {spec}"
    kind, _, rest = spec.partition(":")
    if kind not in KINDS or bool(rest) == (kind == "rules"):
        todo = nearest(kind, KINDS) if kind not in KINDS else f"write {FORMS}"
        raise RecipeError(where, given=f"kind {kind!r}", expected=FORMS, todo=todo)
    head, _, model = rest.partition("#")
    if kind == "openai" and not (head and model):
        raise RecipeError(where, given="no model", expected=FORMS, todo="write openai:URL#MODEL")
    named: dict[str, dict[str, Any]] = {
        "rules": {},
        "local": {"model": rest},
        "openai": {"url": head.rstrip("/"), "model": model, "mine": mine},
        "replay": {"file": head, "model": model},
    }
    fields: dict[str, Any] = {"kind": kind, **named[kind]}
    for override in overrides:
        fields = set_key(fields, override, where=f"--set judge.{override}")
    return build(KINDS[kind], fields, where=where)


def bind(specs: Sequence[str], folder: Path, overrides: Sequence[str] = (), *, mine: bool = False) -> tuple[Any, ...]:
    """The chats of some specs; those that cost time or money stand before the answers kept in ``folder``."""
    answers = AnswerStore(folder)
    backs = [parse_chat(spec, overrides, mine=mine) for spec in specs]
    return tuple(CachedChat(back, answers) if isinstance(back, Local | Service) else back for back in backs)
