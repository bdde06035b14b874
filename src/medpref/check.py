"""A recipe checks itself before any model loads: terms against builders, unread views, roles that are not bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medpref.curation.build import parse_builder
from medpref.errors import RecipeError, nearest
from medpref.objectives.objective import Objective, parse_objective
from medpref.recipe import Recipe
from medpref.schema import CHOSEN, CLEAN, REJECTED, Branch


@dataclass(frozen=True)
class Checked:
    """A recipe with its components built: what the stages work with."""

    recipe: Recipe
    builders: tuple[Any, ...]
    objective: Objective
    warnings: tuple[str, ...]


def check(recipe: Recipe, *, source_has_pairs: bool = False, strict: bool = False) -> Checked:
    """The recipe's components, or a RecipeError naming the term, builder or key and what to do.

    A view or reply that is made and that no term reads gives a warning, and an error where ``strict``.
    """
    where = f"recipe {recipe.name}"
    objective = parse_objective(list(recipe.objective), where=f"{where}, objective")
    builders = tuple(
        parse_builder(config, where=f"{where}, pairs[{index}]") for index, config in enumerate(recipe.pairs)
    )
    made = [_branches(builder) for builder in builders]
    if recipe.source_pairs and source_has_pairs:
        made.append({Branch(CLEAN, CHOSEN), Branch(CLEAN, REJECTED)})
    if not builders and set(objective.needs.branches) - {Branch(CLEAN, CHOSEN)}:
        made = made or [set()]
    _each_term_is_fed(objective, made, where=where)
    warnings = tuple(_unread(objective, made, where=where))
    if strict and warnings:
        raise RecipeError(where, given=warnings[0], expected="every made view and reply read", todo="add a term")
    return Checked(recipe, builders, objective, warnings)


def _branches(builder: Any) -> set[Branch]:
    return {Branch(view, reply) for view in builder.views for reply in builder.replies}


def _each_term_is_fed(objective: Objective, made: Sequence[set[Branch]], *, where: str) -> None:
    for name, (_, term) in zip(objective.names, objective.terms, strict=True):
        wanted = term.needs.branches - term.optional
        if made and not any(wanted <= branches for branches in made):
            everything = sorted({str(branch) for branches in made for branch in branches})
            missing = sorted(str(branch) for branch in wanted if str(branch) not in everything) or [
                str(branch) for branch in sorted(wanted)
            ]
            raise RecipeError(
                f"{where}, term {name}",
                given=f"reads {', '.join(missing)}, which no builder makes (together)",
                expected=f"branches among {', '.join(everything) or 'none'}",
                todo=f"add a builder with that view and reply; {nearest(missing[0], everything)}",
            )


def _unread(objective: Objective, made: Sequence[set[Branch]], *, where: str) -> list[str]:
    read = objective.needs.branches
    views, replies = {branch.view for branch in read}, {branch.reply for branch in read}
    made_views = {branch.view for branches in made for branch in branches}
    made_replies = {branch.reply for branches in made for branch in branches}
    return [f"{where}: view {view!r} is made and no term reads it" for view in sorted(made_views - views)] + [
        f"{where}: reply {reply!r} is made and no term reads it" for reply in sorted(made_replies - replies)
    ]
