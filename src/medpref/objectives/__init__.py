"""Objectives: tensors in, one number per pair out. Importing this package registers every term.

Knows: token log-probabilities of branches. Does not know: models, files, or how pairs were made.
"""

from medpref.objectives.anchor import Anchor
from medpref.objectives.consistency import Consistency
from medpref.objectives.kto import KTO
from medpref.objectives.likelihood import Likelihood
from medpref.objectives.links import LINKS, Link, Side
from medpref.objectives.margin import Margin
from medpref.objectives.objective import Loss, Objective, parse_objective
from medpref.objectives.perception import Perception
from medpref.objectives.rewards import rewards
from medpref.objectives.scores import BranchScores, Needs, Scores, TokenDivergence, Totals
from medpref.objectives.tdpo import TDPO
from medpref.objectives.term import BranchField, Comparison, Term
from medpref.objectives.token_kl import TokenKL

__all__ = [
    "KTO",
    "LINKS",
    "TDPO",
    "Anchor",
    "BranchField",
    "BranchScores",
    "Comparison",
    "Consistency",
    "Likelihood",
    "Link",
    "Loss",
    "Margin",
    "Needs",
    "Objective",
    "Perception",
    "Scores",
    "Side",
    "Term",
    "TokenDivergence",
    "TokenKL",
    "Totals",
    "parse_objective",
    "rewards",
]
