"""Questions to language models asked ahead, many at once: a builder's pairs are rehearsed until no answer is missing.

Writers and judges are pure, so a pair may be begun, stopped at a question without an answer, and begun again when the
answer is there. The pairs themselves are made afterwards, one by one, from answers that are all known.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from medpref.curation.assemble import assemble
from medpref.curation.builder import Builder
from medpref.curation.draft import Context
from medpref.curation.mine import Pick
from medpref.language.templates import labels
from medpref.models.chat import Roles
from medpref.models.chat_cache import AheadChat, CachedChat, NotYet

CHUNK = 512
WAVES = 64  # more questions than any pair asks one after the other


def asks(config: Any) -> bool:
    """Whether a recipe's mapping (or anything inside it) uses the role ``judge``."""
    if isinstance(config, Mapping):
        used = config.get("by") == "chat" or config.get("kind") == "chat_relevance"
        return used or any(asks(value) for value in config.values())
    return config == "chat_relevance" or (isinstance(config, list | tuple) and any(asks(value) for value in config))


def weighs(config: Any) -> bool:
    """Whether a recipe's mapping (or anything inside it) names the one judge that asks every bound model."""
    if isinstance(config, Mapping):
        return any(map(weighs, config.values()))
    return config == "chat_relevance" or (isinstance(config, list | tuple) and any(map(weighs, config)))


def signature(builders: Sequence[Mapping[str, Any]], roles: Roles) -> list[Any]:
    """What of the bound models decides the pairs (who they are, the wording of the prompts); empty if none is asked."""
    if not any(asks(config) for config in builders):
        return []
    return [[chat.identity for chat in roles.chats], labels(roles.prompts)]


def bound(builder: Builder, roles: Roles) -> Builder:
    """The builder with its judge bound to the models, if it is one that asks them."""
    bind = getattr(builder.judge, "bound_to", None)
    return builder if bind is None else replace(builder, judge=bind(roles))


def asked_ahead(
    builder: Builder, picks: Sequence[Pick], context: Context, *, made: Callable[[], int], done: Container[str]
) -> Iterator[Pick]:
    """The picks as they are, each after its questions were asked, together with those of the picks around it.

    ``made`` counts the builder's pairs so far: under a limit no more picks are asked about than can be needed.
    ``done`` holds ``builder/example`` of those that need nothing more.
    """
    if not (asks(builder.config) and any(isinstance(chat, CachedChat) for chat in context.roles.chats)):
        yield from picks
        return
    start = 0
    while start < len(picks):
        size = CHUNK if builder.limit is None else min(CHUNK, max(1, builder.limit - made()))
        chunk = picks[start : start + size]
        _rehearse(builder, [pick for pick in chunk if f"{builder.name}/{pick.example.id}" not in done], context)
        yield from chunk
        start += size


def _rehearse(builder: Builder, picks: Sequence[Pick], context: Context) -> None:
    chats = tuple(AheadChat(chat) if isinstance(chat, CachedChat) else chat for chat in context.roles.chats)
    roles = replace(context.roles, chats=chats)
    ahead, on_stage = replace(context, roles=roles), bound(builder, roles)
    waiting = list(picks)
    for _ in range(WAVES):
        waiting = [pick for pick in waiting if _stops(on_stage, pick, ahead)]
        if not waiting:
            return
        for chat in chats:
            if isinstance(chat, AheadChat):
                chat.fetch()


def _stops(builder: Builder, pick: Pick, context: Context) -> bool:
    """Whether a pair stops at a question that has no answer yet."""
    try:
        assemble(builder, pick.example, context, None, mined=pick.reason)
    except NotYet:
        return True
    return False
