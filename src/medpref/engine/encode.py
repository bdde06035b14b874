"""A preference pair as token ids: what the engine and the packer read. Knows tokens and images, not tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from medpref.errors import DataError, MedprefError
from medpref.objectives.scores import Needs
from medpref.schema import Branch, PreferencePair
from medpref.store import digest

if TYPE_CHECKING:
    from medpref.engine.images import ImageStore
    from medpref.models.policy import Policy


@dataclass(frozen=True)
class EncodedBranch:
    """One branch's tokens. ``images`` are the content hashes of the study's images, in order.

    ``prompt`` has the image placeholders expanded; ``reply_ids`` end with the end token; ``spans`` is True where a
    reply token overlaps an edited span. ``positions`` (axes by prompt token) only for families with several axes.
    """

    view: str
    reply: str
    images: tuple[str, ...]
    prompt: tuple[int, ...]
    reply_ids: tuple[int, ...]
    spans: tuple[bool, ...]
    positions: tuple[tuple[int, ...], ...] | None = None

    @cached_property
    def read(self) -> tuple[int, ...]:
        """The tokens the model reads: the last reply token is only predicted, never read."""
        return self.prompt + self.reply_ids[:-1]

    @cached_property
    def key(self) -> str:
        """A hash of what the model sees and what is scored; not of names, spans or weights."""
        return digest([self.images, self.prompt, self.reply_ids])


@dataclass(frozen=True)
class EncodedPair:
    """A pair's branches as tokens; a branch that the pair lacks is not there."""

    id: str
    weight: float
    branches: Mapping[Branch, EncodedBranch] = field(default_factory=dict)


def required_branches(needs: Needs) -> tuple[Branch, ...]:
    """Every branch that anything in ``needs`` reads, sorted by name."""
    crossed = frozenset(branch for couple in needs.cross for branch in couple)
    every = needs.branches | needs.reference | needs.divergence | needs.collision | crossed
    return tuple(sorted(every))


def encode_pair(
    policy: Policy,
    pair: PreferencePair,
    root: Path,
    needs: Needs | Iterable[Branch],
    store: ImageStore,
) -> EncodedPair:
    """The branches of ``pair`` that ``needs`` reads and that the pair has, as tokens; errors name the pair.

    Registers the pair's images with ``store`` (each distinct image is decoded and processed once).
    """
    wanted = required_branches(needs) if isinstance(needs, Needs) else tuple(sorted(frozenset(needs)))
    branches: dict[Branch, EncodedBranch] = {}
    for branch in wanted:
        if branch.view in pair.views and branch.reply in pair.replies:
            branches[branch] = _encode_branch(policy, pair, Path(root), branch, store)
    if not branches:
        raise DataError(
            f"pair {pair.id!r}",
            given=f"views {sorted(pair.views)} and replies {sorted(pair.replies)}",
            expected=f"one of the branches {', '.join(map(str, wanted)) or '(none asked for)'}",
            todo="choose an objective that reads what the recipe builds",
        )
    return EncodedPair(id=pair.id, weight=pair.weight, branches=branches)


def _encode_branch(
    policy: Policy, pair: PreferencePair, root: Path, branch: Branch, store: ImageStore
) -> EncodedBranch:
    reply = pair.replies[branch.reply]
    try:
        images = store.add(pair.views[branch.view], root)
        prompt, positions = store.prompt(images, pair.question)
        reply_ids, spans = policy.reply_ids(reply.text, reply.spans)
    except MedprefError as error:
        where = f"pair {pair.id!r}, branch {branch}: {error.where}"
        raise type(error)(where, given=error.given, expected=error.expected, todo=error.todo) from error
    if not reply_ids or len(reply_ids) != len(spans):
        raise DataError(
            f"pair {pair.id!r}, branch {branch}",
            given=f"{len(reply_ids)} reply tokens and {len(spans)} span marks",
            expected="at least one token, and as many marks",
            todo="check the reply's text",
        )
    return EncodedBranch(branch.view, branch.reply, images, prompt, tuple(reply_ids), tuple(spans), positions)
