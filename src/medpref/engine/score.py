"""Branch scores of a batch of pairs: what an objective reads, computed once for every distinct token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medpref.engine.cross import Couples, cross_divergence
from medpref.engine.edges import Edges, find_edges, join_rows
from medpref.engine.encode import EncodedBranch, EncodedPair, required_branches
from medpref.engine.forward import head_weight, hidden_states, plan_for
from medpref.engine.head import Ask, HeadOutput, read_head
from medpref.engine.images import ImageStore
from medpref.engine.layout import Plan
from medpref.engine.reference import ReferenceCache, ReferenceLine, read_online
from medpref.engine.tiles import accumulator
from medpref.engine.trie import Array
from medpref.errors import ModelError, RecipeError
from medpref.models.policy import Policy
from medpref.objectives.scores import BranchScores, Needs, Scores, TokenDivergence
from medpref.schema import Branch

Couple = tuple[Branch, Branch]
Reference = ReferenceCache | Literal["online"] | None


def score(
    policy: Policy,
    pairs: Sequence[EncodedPair],
    needs: Needs,
    *,
    images: ImageStore,
    reference: Reference = None,
    backend: str = "auto",
) -> Scores:
    """What ``needs`` asks of each branch for ``pairs``, padded ``[pair, token]``, differentiable in the policy.

    A branch that a pair lacks is an all-False row. ModelError where a reference is needed and none is given.
    """
    batch = _Batch.of(pairs, needs)
    plan = plan_for(policy, batch.lines, backend)
    edges = find_edges(plan)
    spoken = _reference_lines(policy, plan, batch, images=images, reference=reference, backend=backend)
    device = policy.base.device
    hidden = hidden_states(policy, plan, images, edges.slot)
    weight = head_weight(policy)
    reading = _Reading(batch, edges, device)
    out = read_head(hidden, weight, reading.ask(needs, spoken, reference))
    crossed = {couple: reading.cross(couple, hidden, weight) for couple in sorted(needs.cross)}
    return {branch: reading.branch_scores(branch, out, needs, spoken, crossed) for branch in batch.branches}


@dataclass(frozen=True, eq=False)
class _Batch:
    """Distinct lines and where each pair's branches are among them; -1 = the pair lacks the branch."""

    branches: tuple[Branch, ...]
    lines: list[EncodedBranch]
    line_of: Mapping[Branch, list[int]]
    pairs: Sequence[EncodedPair]
    refer: list[bool]
    diverge: list[bool]
    collide: list[bool]

    @classmethod
    def of(cls, pairs: Sequence[EncodedPair], needs: Needs) -> _Batch:
        branches = required_branches(needs)
        index: dict[str, int] = {}
        lines: list[EncodedBranch] = []
        line_of: dict[Branch, list[int]] = {branch: [] for branch in branches}
        for pair in pairs:
            for branch in branches:
                line = pair.branches.get(branch)
                if line is not None and line.key not in index:
                    index[line.key] = len(lines)
                    lines.append(line)
                line_of[branch].append(-1 if line is None else index[line.key])

        def marked(chosen: frozenset[Branch]) -> list[bool]:
            inside = {line for branch in chosen for line in line_of[branch]}
            return [number in inside for number in range(len(lines))]

        refer, diverge = marked(needs.reference | needs.divergence), marked(needs.divergence)
        return cls(branches, lines, line_of, pairs, refer, diverge, marked(needs.collision))


def _reference_lines(
    policy: Policy, plan: Plan, batch: _Batch, *, images: ImageStore, reference: Reference, backend: str
) -> dict[int, ReferenceLine]:
    wanted = [number for number, needed in enumerate(batch.refer) if needed]
    if not wanted:
        return {}
    if reference is None:
        raise ModelError(
            "score",
            given="no reference",
            expected="'online' or a ReferenceCache, for an objective that reads the reference",
            todo="give one, or use a reference-free objective",
        )
    lines, keep = [batch.lines[number] for number in wanted], [batch.diverge[number] for number in wanted]
    if isinstance(reference, ReferenceCache):
        return dict(zip(wanted, reference.lines(lines, keep), strict=True))
    same = plan if len(wanted) == len(batch.lines) else plan_for(policy, lines, backend)
    return dict(zip(wanted, read_online(policy, same, images, keep=keep), strict=True))


@dataclass(frozen=True, eq=False)
class _Reading:
    batch: _Batch
    edges: Edges
    device: torch.device

    def ask(self, needs: Needs, spoken: Mapping[int, ReferenceLine], reference: Reference) -> Ask:
        diverging = [number for number, wanted in enumerate(self.batch.diverge) if wanted]
        colliding = [number for number, wanted in enumerate(self.batch.collide) if wanted]
        rows, first = join_rows([self.edges.rows_of_line[number] for number in diverging])
        kept = [hidden for number in diverging if (hidden := spoken[number].hidden) is not None]
        held = reference.head_weight if isinstance(reference, ReferenceCache) else None
        return Ask(
            edge_row=self._tensor(self.edges.row),
            edge_token=self._tensor(self.edges.token),
            divergence_rows=self._tensor(rows) if diverging else None,
            reference=torch.cat(kept).to(self.device)[self._tensor(first)] if diverging else None,
            reference_weight=held.to(self.device) if held is not None and diverging else None,
            collision_rows=self._tensor(join_rows([self.edges.rows_of_line[number] for number in colliding])[0])
            if colliding
            else None,
        )

    def branch_scores(
        self,
        branch: Branch,
        out: HeadOutput,
        needs: Needs,
        spoken: Mapping[int, ReferenceLine],
        crossed: Mapping[Couple, Tensor],
    ) -> BranchScores:
        numbers = self.batch.line_of[branch]
        mask = self._mask(branch)
        diverge, collide = branch in needs.divergence, branch in needs.collision
        refer = branch in needs.reference or diverge
        return BranchScores(
            policy=self._spread(numbers, mask, self.edges.of_line, out.log_prob),
            reference=self._reference(numbers, mask, spoken, out.log_prob.dtype) if refer else None,
            mask=self._tensor(mask),
            spans=self._tensor(self._spans(branch, mask)),
            present=torch.tensor([number >= 0 for number in numbers], device=self.device),
            divergence=self._divergence(numbers, mask, out) if diverge else None,
            cross={second: values for (first, second), values in crossed.items() if first == branch},
            collision=self._by_row(numbers, mask, self.batch.collide, out.collision) if collide else None,
        )

    def cross(self, couple: Couple, hidden: Tensor, weight: Tensor) -> Tensor:
        """KL(policy on the first branch || policy on the second) ``[pair, token]``; 0 where a pair lacks either."""
        mask = self._mask(couple[0])
        first, second, rows = [], [], []
        for number, (one, other) in enumerate(zip(*(self.batch.line_of[branch] for branch in couple), strict=True)):
            if one >= 0 and other >= 0:
                _check_same_text(self.batch.pairs[number], couple)
                first.append(self.edges.rows_of_line[one])
                second.append(self.edges.rows_of_line[other])
                rows.append(number)
        both = mask & np.isin(np.arange(len(mask)), rows)[:, None]
        out = hidden.new_zeros(mask.shape, dtype=accumulator(hidden.dtype))
        if not rows:
            return out
        couples = Couples(self._tensor(np.concatenate(first)), self._tensor(np.concatenate(second)))
        return out.masked_scatter(self._tensor(both), cross_divergence(hidden, weight, couples))

    def _mask(self, branch: Branch) -> Array:
        numbers = self.batch.line_of[branch]
        sizes = [0 if number < 0 else len(self.batch.lines[number].reply_ids) for number in numbers]
        return np.arange(max(sizes))[None, :] < np.asarray(sizes)[:, None]

    def _spans(self, branch: Branch, mask: Array) -> Array:
        spans = np.zeros_like(mask)
        for row, pair in enumerate(self.batch.pairs):
            if branch in pair.branches:
                marks = pair.branches[branch].spans
                spans[row, : len(marks)] = marks
        return spans

    def _divergence(self, numbers: Sequence[int], mask: Array, out: HeadOutput) -> TokenDivergence:
        forward = self._by_row(numbers, mask, self.batch.diverge, out.forward)
        return TokenDivergence(forward, self._by_row(numbers, mask, self.batch.diverge, out.reverse))

    def _by_row(self, numbers: Sequence[int], mask: Array, marked: Sequence[bool], values: Tensor) -> Tensor:
        rows = join_rows([rows for rows, wanted in zip(self.edges.rows_of_line, marked, strict=True) if wanted])[0]
        places = tuple(np.searchsorted(rows, of_line) for of_line in self.edges.rows_of_line)
        return self._spread(numbers, mask, places, values)

    def _reference(
        self, numbers: Sequence[int], mask: Array, spoken: Mapping[int, ReferenceLine], dtype: torch.dtype
    ) -> Tensor:
        out = torch.zeros(mask.shape, dtype=dtype, device=self.device)
        parts = [spoken[number].log_probs for number in numbers if number >= 0]
        return out.masked_scatter(self._tensor(mask), torch.cat(parts).to(out)) if parts else out

    def _spread(self, numbers: Sequence[int], mask: Array, places: Sequence[Array], values: Tensor) -> Tensor:
        """Values by edge (or row) as ``[pair, token]``, 0 where there is none."""
        index = np.full(mask.shape, len(values))
        index[mask] = np.concatenate([places[number] for number in numbers if number >= 0] or [np.empty(0, np.int64)])
        return torch.cat((values, values.new_zeros(1)))[self._tensor(index)]

    def _tensor(self, array: Array) -> Tensor:
        return torch.as_tensor(array, device=self.device)


def _check_same_text(pair: EncodedPair, couple: Couple) -> None:
    first, second = (pair.branches[branch] for branch in couple)
    if first.reply_ids != second.reply_ids:
        raise RecipeError(
            f"pair {pair.id!r}",
            given=f"{couple[0]} and {couple[1]} with different texts",
            expected="one text read against two views",
            todo="compare branches of the same reply",
        )
