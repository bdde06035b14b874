"""What TRL's users watch while preference training runs, under TRL's names, for any objective."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medpref.objectives.objective import Objective
from medpref.objectives.scores import BranchScores, Scores
from medpref.objectives.tokens import total
from medpref.schema import CHOSEN, CLEAN, Branch

Metrics = dict[str, Float[Tensor, " pair"]]


def rewards(objective: Objective, scores: Scores) -> Metrics:
    """Per pair, without gradient, NaN where the pair lacks the branch (average with ``nanmean``).

    ``rewards/chosen``, ``rewards/rejected`` (beta times the log-ratio), ``rewards/margins``, ``rewards/accuracies``
    (1 where chosen > rejected), ``logps/chosen``, ``logps/rejected`` (nats, whole replies) of the objective's first
    term that compares two branches: "chosen" is its better branch and "rejected" its worse one, whatever they are. An
    objective that compares nothing (supervised) has ``logps/chosen`` alone, of clean/chosen or else of the first branch
    it reads. Rewards are of the tokens that the term selects.
    """
    for _, term in objective.terms:
        with torch.no_grad():
            found = term.compare(scores)
        if found is not None:
            better, worse = scores[found.better], scores[found.worse]
            both = better.present & worse.present
            chosen, rejected = found.reward_better, found.reward_worse
            return {
                "rewards/chosen": _known(chosen, better.present),
                "rewards/rejected": _known(rejected, worse.present),
                "rewards/margins": _known(chosen - rejected, both),
                "rewards/accuracies": _known((chosen > rejected).to(chosen.dtype), both),
                "logps/chosen": _log_prob(better),
                "logps/rejected": _log_prob(worse),
            }
    branches = sorted(objective.needs.branches)
    clean = Branch(CLEAN, CHOSEN)
    return {"logps/chosen": _log_prob(scores[clean if clean in branches else branches[0]])}


def _log_prob(scores: BranchScores) -> Float[Tensor, " pair"]:
    return _known(total(scores.policy.detach(), scores.mask), scores.present)


def _known(values: Float[Tensor, " pair"], present: Bool[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    return torch.where(present, values, torch.nan)
