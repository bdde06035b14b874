"""Writers around another writer: its edited words alone, or one of the two replies that it writes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from medpref.curation.draft import Context, Draft, Refused, Writer
from medpref.language.diff import spans
from medpref.registry import WRITERS
from medpref.schema import CHOSEN, REJECTED, Example, Frozen, Reply

CORRECT: Mapping[str, Any] = {"kind": "correct"}


def _writes_both(config: Mapping[str, Any]) -> Mapping[str, Any]:
    writer = WRITERS.parse(config, where="writer's of")
    if not writer.both:
        raise ValueError(f"{writer.kind!r} writes one reply; wrap a writer of both, such as correct")
    return config


@WRITERS.add
class Phrases(Frozen):
    """Both replies of ``of``, cut down to the words in which they differ (FiRe-MPO's style D1, arXiv:2606.12590).

    Such pairs have no style, nor a sentence to read the words in. An edit that only inserts words leaves the other
    side nothing to say and is refused.
    """

    kind: Literal["phrases"] = "phrases"
    both: ClassVar[bool] = True
    of: Mapping[str, Any] = Field(default=CORRECT, description="a writer of both replies")

    check_of = field_validator("of")(_writes_both)

    @cached_property
    def inner(self) -> Writer:
        """The wrapped writer."""
        writer: Writer = WRITERS.parse(self.of, where="writer 'phrases', of")
        return writer

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        draft = self.inner.write(example, context, role=role, other=other)
        if isinstance(draft, Refused):
            return draft
        chosen, rejected = draft.replies[CHOSEN], draft.replies[REJECTED]
        found = zip((chosen, rejected), spans(chosen.text, rejected.text), strict=True)
        cut = [" ".join(reply.text[span.start : span.end] for span in edited) for reply, edited in found]
        if not all(text.strip() for text in cut):
            return Refused("one reply only inserts words, so the other has no phrase")
        replies = {
            CHOSEN: Reply(text=cut[0], author=chosen.author),
            REJECTED: Reply(text=cut[1], author=rejected.author),
        }
        return Draft(replies, {**draft.notes, "cut_to": "phrases"})


@WRITERS.add
class Only(Frozen):
    """The ``reply`` that ``of`` writes under that name, in the role that is asked for; its other reply is dropped."""

    kind: Literal["only"] = "only"
    both: ClassVar[bool] = False
    of: Mapping[str, Any] = Field(default=CORRECT, description="a writer of both replies")
    reply: Literal["chosen", "rejected"] = "rejected"

    check_of = field_validator("of")(_writes_both)

    @cached_property
    def inner(self) -> Writer:
        """The wrapped writer."""
        writer: Writer = WRITERS.parse(self.of, where="writer 'only', of")
        return writer

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        draft = self.inner.write(example, context, role=self.reply, other=None)
        return draft if isinstance(draft, Refused) else Draft({role: draft.replies[self.reply]}, draft.notes)
