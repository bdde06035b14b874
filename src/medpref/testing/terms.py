"""The contract of an objective's term: ``check_term(term)`` raises AssertionError with the promise it breaks.

Every check is a function of a term, so that a plugin's author can run one alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from medpref.errors import MedprefError
from medpref.objectives.objective import Objective
from medpref.objectives.scores import BranchScores, Needs, Scores
from medpref.objectives.term import Term
from medpref.schema import Branch
from medpref.testing.scores import PAIRS, gradients, leaves, mapped, pad, pick, random_scores, totals_of, without


def check_term(term: Term) -> None:
    """Nothing, if the term keeps every promise of ``Term``; AssertionError naming the first one it breaks.

    >>> from medpref.objectives import Anchor
    >>> check_term(Anchor(branch="clean/chosen"))
    """
    for check in CHECKS:
        try:
            check(term)
        except AssertionError as broken:
            raise AssertionError(f"term {term.name} {broken}") from None


def check_round_trip(term: Term) -> None:
    """A term is its configuration: as data and back it is equal."""
    again = type(term).model_validate(term.model_dump(mode="json"))
    _promise(again == term, "is not equal after a round trip as data")


def check_shape(term: Term) -> None:
    """One finite number per pair, with a gradient, the same twice, the scores untouched."""
    scores = random_scores(term.needs)
    before = {key: values.detach().clone() for key, values in leaves(scores)}
    loss = term(scores, totals_of(scores))
    _promise(loss.shape == (PAIRS,), f"gives shape {tuple(loss.shape)}, not one number per pair")
    _promise(loss.requires_grad, "has no gradient")
    same = all(torch.equal(before[key], values) for key, values in leaves(scores))
    _promise(same, "writes into its scores")
    _promise(torch.equal(loss, term(scores, totals_of(scores))), "gives two values for one input")


def check_finite(term: Term) -> None:
    """Values and gradients are finite for ordinary scores and for log-ratios of hundreds of nats."""
    for seed, spread in enumerate((0.0, 0.3, 60.0, 60.0, 60.0, 60.0)):
        scores = random_scores(term.needs, seed=seed, spread=spread)
        loss = term(scores, totals_of(scores))
        _promise(bool(loss.isfinite().all()), f"is not finite at log-ratio spread {spread} nats a token")
        finite = all(bool(grad.isfinite().all()) for grad in gradients(loss, scores).values())
        _promise(finite, f"has a gradient that is not finite at log-ratio spread {spread} nats a token")


def check_padding(term: Term) -> None:
    """More padding changes nothing."""
    scores = random_scores(term.needs)
    totals = totals_of(scores)
    padded = {branch: mapped(read, pad) for branch, read in scores.items()}
    close = torch.allclose(term(scores, totals), term(padded, totals), atol=1e-6)
    _promise(close, "changes with padding")


def check_order(term: Term) -> None:
    """Permuting pairs permutes losses; and unless the term says it is batchwise, a pair's loss is its own affair."""
    scores = random_scores(term.needs)
    totals = totals_of(scores)
    loss = term(scores, totals)
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = term(pick(scores, order), totals)
    _promise(torch.allclose(moved, loss[order], atol=1e-6), "depends on the order of pairs")
    if not term.batchwise:
        some = torch.tensor([1, 4])
        alone = torch.allclose(term(pick(scores, some), totals), loss[some], atol=1e-6)
        _promise(alone, "depends on the other pairs of a micro-step without saying batchwise")


def check_reads(term: Term) -> None:
    """The term reads exactly the branches it declares, and each thing it declares changes the loss."""
    needs = term.needs
    seen = _Watched(random_scores(needs))
    term(seen, totals_of(seen.scores))
    _promise(seen.read == needs.branches, f"declares {_names(needs.branches)} but reads {_names(seen.read)}")
    inside = needs.reference | needs.divergence | needs.collision | {b for pair in needs.cross for b in pair}
    _promise(inside <= needs.branches, "needs something of a branch that is not in needs.branches")
    for what, names in _changes(needs):
        moved = any(_moves(term, names, seed=seed) for seed in range(8))
        _promise(moved, f"declares {what}, which does not change its loss")


def check_absent(term: Term) -> None:
    """A pair without a branch has loss 0 and gradient 0, and leaves the other pairs alone."""
    scores = random_scores(term.needs)
    totals = totals_of(scores)
    whole = term(scores, totals)
    for branch in sorted(term.needs.branches):
        lacking = without(scores, {branch}, rows=torch.tensor([1]))
        loss = term(lacking, totals)
        if branch not in term.optional:
            _silent(loss, lacking, rows=[1], what=f"a pair without {branch}")
        if not term.batchwise:
            others = torch.tensor([0, 2, 3, 4])
            alone = torch.allclose(loss[others], whole[others], atol=1e-6)
            _promise(alone, f"changes for other pairs when one lacks {branch}")
        nobody = without(scores, {branch}, rows=torch.arange(PAIRS))
        narrow = {b: mapped(read, lambda v: v[:, :0]) if b == branch else read for b, read in nobody.items()}
        if branch not in term.optional:
            _silent(term(narrow, totals), narrow, rows=list(range(PAIRS)), what=f"a batch without {branch}")
    lacking = without(scores, term.needs.branches, rows=torch.tensor([1]))
    _silent(term(lacking, totals), lacking, rows=[1], what="a pair without any branch")


def check_reference_is_frozen(term: Term) -> None:
    """No gradient reaches the reference, nor the collision probabilities."""
    scores = random_scores(term.needs)
    found = gradients(term(scores, totals_of(scores)), scores)
    for key, grad in found.items():
        frozen = key.endswith((".reference", ".collision"))
        _promise(not (frozen and bool(grad.any())), f"sends a gradient into {key}")


def check_weights(term: Term) -> None:
    """The gradient is linear in the pair weight, or the term says why it takes none and the objective refuses."""
    objective = Objective(((1.0, term),))
    scores = random_scores(term.needs)
    totals, weights = totals_of(scores), torch.tensor([0.0, 0.5, 1.0, 2.0, 3.0])
    if term.unweightable:
        try:
            objective(scores, weights, totals)
        except MedprefError:
            return
        raise AssertionError("says it is unweightable, and is weighted")
    plain = gradients(term(scores, totals), scores)
    for key, grad in gradients(objective(scores, weights, totals).per_pair, scores).items():
        _promise(torch.allclose(grad, plain[key] * weights[:, None], atol=1e-6), "is not linear in pair weights")


CHECKS: tuple[Callable[[Term], None], ...] = (
    check_round_trip,
    check_shape,
    check_finite,
    check_padding,
    check_order,
    check_reads,
    check_absent,
    check_reference_is_frozen,
    check_weights,
)


class _Watched(Mapping[Branch, BranchScores]):
    """Scores that remember which branches were read."""

    def __init__(self, scores: Scores) -> None:
        self.scores, self.read = scores, frozenset[Branch]()

    def __getitem__(self, branch: Branch) -> BranchScores:
        self.read |= {branch}
        return self.scores[branch]

    def __iter__(self) -> Iterator[Branch]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)


def _promise(kept: bool, complaint: str) -> None:
    if not kept:
        raise AssertionError(complaint)


def _names(branches: frozenset[Branch]) -> str:
    return ", ".join(map(str, sorted(branches))) or "nothing"


def _silent(loss: Tensor, scores: Scores, *, rows: list[int], what: str) -> None:
    _promise(not bool(loss[rows].any()), f"is not 0 for {what}")
    for key, grad in gradients(loss, scores).items():
        _promise(bool(grad.isfinite().all()), f"has a gradient that is not finite into {key} for {what}")
        _promise(not bool(grad[rows].any()), f"has a gradient into {key} for {what}")


def _changes(needs: Needs) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Each thing that is declared, with the names of the leaves to disturb."""
    for branch in map(str, sorted(needs.branches)):
        b = re.escape(branch)
        yield branch, re.compile(rf"{b}\..+|.+\.cross\.{b}")
    for branch in map(str, sorted(needs.reference)):
        yield f"the reference of {branch}", re.compile(re.escape(f"{branch}.reference"))
    for branch in map(str, sorted(needs.collision)):
        yield f"the collision of {branch}", re.compile(re.escape(f"{branch}.collision"))
    for branch in map(str, sorted(needs.divergence)):
        yield f"the divergence of {branch}", re.compile(rf"{re.escape(branch)}\.(forward|reverse)")
    for first, second in sorted(needs.cross):
        yield f"the divergence of {first} from {second}", re.compile(re.escape(f"{first}.cross.{second}"))


def _moves(term: Term, names: re.Pattern[str], *, seed: int) -> bool:
    """Whether halving the leaves of those names changes the loss."""
    scores = random_scores(term.needs, seed=seed)
    loss = term(scores, totals_of(scores)).detach().clone()
    with torch.no_grad():
        for key, values in leaves(scores):
            if names.fullmatch(key):
                values.mul_(0.5)
    return not torch.allclose(loss, term(scores, totals_of(scores)).detach(), atol=1e-6)
