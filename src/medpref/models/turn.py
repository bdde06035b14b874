"""A conversation turn as tokens: what stands before a reply, what ends it, and which tokens a span touches.

Reply tokens are those of the exact string that is trained on: the rendered chat template up to the reply, then the
reply. The boundary is tokenised in context, because for some tokenizers the first reply token depends on how the
prompt ends (``ASSISTANT:`` + `` Yes`` is one token with its space, never a lone space and ``Yes``). Only where the
prompt's own tokens change when a reply follows is the reply tokenised alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from medpref.errors import DataError, ModelError
from medpref.schema import Span

PROBE_QUESTION, PROBE_REPLY = "medprefquestion", "medprefreply"


@dataclass(frozen=True)
class Turn:
    """What a chat template puts around a reply: ``context`` (the end of the prompt), ``lead`` (a space, or nothing)."""

    context: str
    lead: str
    end: int


def render(
    tokenizer: PreTrainedTokenizerBase, template: str | None, question: str, *, images: int, reply: str = ""
) -> str:
    """The rendered conversation: with ``reply``, the finished turn; without, ready for the reply to follow."""
    parts: list[dict[str, str]] = [{"type": "image"}] * images + [{"type": "text", "text": question}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": parts}]
    if reply:
        messages.append({"role": "assistant", "content": [{"type": "text", "text": reply}]})
    return str(
        tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=not reply)
    )


def read_turn(tokenizer: PreTrainedTokenizerBase, template: str | None, *, where: str) -> Turn:
    """What surrounds a reply, found by rendering a probe; ModelError without a template or an end token.

    The end token is the first special token after the reply, else the tokenizer's end-of-sequence token.
    """
    if template is None:
        raise ModelError(
            where, given="no chat template", expected="one", todo="add chat_template.jinja to the model's folder"
        )
    try:
        prompt = render(tokenizer, template, PROBE_QUESTION, images=1)
        whole = render(tokenizer, template, PROBE_QUESTION, images=1, reply=PROBE_REPLY)
    except (TemplateError, TypeError) as error:
        raise ModelError(
            where,
            given=f"a chat template that fails: {error}",
            expected="one that renders an image, a question and a reply (content as a list of parts)",
            todo="mend chat_template.jinja in the model's folder",
        ) from error
    at = whole.rfind(PROBE_REPLY)
    lead = whole[len(prompt) : at] if whole.startswith(prompt) else ""
    tail = tokenizer(whole[at + len(PROBE_REPLY) :], add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_ids)
    end = next((token for token in tail if token in special), tokenizer.eos_token_id)
    if end is None:
        raise ModelError(where, given="no end-of-turn token", expected="one", todo="set the tokenizer's eos_token")
    return Turn(prompt[prompt.rfind(PROBE_QUESTION) + len(PROBE_QUESTION) :], lead, int(end))


def tokenise_reply(
    tokenizer: PreTrainedTokenizerBase, turn: Turn, text: str, spans: Sequence[Span] = ()
) -> tuple[list[int], list[bool]]:
    """Ids of a reply with its end token, and for each whether it overlaps a span; DataError if a span meets none.

    A token owns the characters from the previous token's end to its own, so a space that a tokenizer leaves out of
    its offsets belongs to the word after it. The end token is in no span. A special token's text inside the reply stays
    ordinary text.
    """
    context = PROBE_QUESTION + turn.context
    plain = any(str(token) in text for token in tokenizer.all_special_tokens)
    ids, offsets = _tokens(tokenizer, context + turn.lead + text, plain=plain)
    before = _tokens(tokenizer, context, plain=plain)[0]
    if ids[: len(before)] == before:
        ids, offsets, shift = ids[len(before) :], offsets[len(before) :], len(context) + len(turn.lead)
    else:
        ids, offsets = _tokens(tokenizer, turn.lead + text, plain=plain)
        shift = len(turn.lead)
    owned = _owned(offsets, start=shift - len(turn.lead))
    marks = [any(s - shift < span.end and span.start < e - shift for span in spans) for s, e in owned]
    for span in spans:
        if not any(s - shift < span.end and span.start < e - shift for s, e in owned):
            raise DataError(
                f"reply {text[:40]!r}",
                given=f"span [{span.start}, {span.end}) meets no token",
                expected=f"a range within its {len(text)} characters",
                todo="mend the span or drop the pair",
            )
    return [*ids, turn.end], [*marks, False]


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str, *, plain: bool) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and character offsets."""
    out = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=plain)
    return list(out["input_ids"]), [(int(a), int(b)) for a, b in out["offset_mapping"]]


def _owned(offsets: Sequence[tuple[int, int]], *, start: int) -> list[tuple[int, int]]:
    """Offsets with gaps closed; pieces of one multi-byte character all own it."""
    owned = []
    reached = start
    for begin, end in offsets:
        owned.append((min(begin, reached), end))
        reached = max(reached, end)
    return owned
