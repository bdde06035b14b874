"""Which hidden states and which next tokens a plan must read: every shared edge once. Pure: a plan in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from medpref.engine.layout import Plan
from medpref.engine.trie import Array


@dataclass(frozen=True, eq=False)
class Edges:
    """Distinct (parent node, next token) edges of the replies of some lines.

    ``slot`` are the hidden states needed, one a row; ``row`` and ``token`` describe each edge. ``of_line[s]`` are the
    edges of line ``s``'s reply in order, ``rows_of_line[s]`` the rows they start from.
    """

    slot: Int[Array, " row"]
    row: Int[Array, " edge"]
    token: Int[Array, " edge"]
    of_line: tuple[Int[Array, " token"], ...]
    rows_of_line: tuple[Int[Array, " token"], ...]


def find_edges(plan: Plan) -> Edges:
    """The edges of all replies of a plan. log p of an edge needs the hidden state of its parent only."""
    replies = [np.asarray(line.reply_ids) for line in plan.lines]
    parents = [path[-len(reply) :] for path, reply in zip(plan.forest.paths, replies, strict=True)]
    ends = np.cumsum([len(reply) for reply in replies])[:-1]
    parent, token = np.concatenate(parents), np.concatenate(replies)
    nodes, row = np.unique(parent, return_inverse=True)
    width = int(token.max()) + 1
    edge, index = np.unique(row * width + token, return_inverse=True)
    return Edges(
        slot=plan.layout.slot[nodes],
        row=edge // width,
        token=edge % width,
        of_line=tuple(np.split(index, ends)),
        rows_of_line=tuple(np.split(row, ends)),
    )


def join_rows(parts: Sequence[Array]) -> tuple[Array, Array]:
    """The distinct rows among some lines' rows, and for each the index of its first mention in the joined list."""
    joined = np.concatenate(parts) if parts else np.empty(0, np.int64)
    return np.unique(joined, return_index=True)
