"""Who fills the role ``judge`` of a run: checked against its recipes before anything is written, bound for curation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medpref.curation.chat_ahead import asks, weighs
from medpref.errors import RecipeError
from medpref.evaluation.asked_facts import PROMPT
from medpref.language.templates import check_folder, load_template
from medpref.models.chat import Roles
from medpref.models.chat_spec import FORMS, bind
from medpref.recipe import Recipe
from medpref.schema import Example

if TYPE_CHECKING:
    from medpref.run import RunConfig

PREFIX = "judge."


def bind_roles(config: RunConfig, root: Path, recipes: Sequence[Recipe]) -> Roles:
    """The models that ``--judge`` names, with their answers kept beside the run folder (or in ``chat_cache``).

    RecipeError where a recipe uses the role and nobody is bound to it, where a setting of it or a second model does
    nothing, or where a panel would hold a panel. Loads no model and asks nothing.
    """
    using = [recipe.name for recipe in recipes if asks(recipe.pairs) or recipe.evaluation.facts == "judge"]
    if using and not config.judge:
        where = f"recipe {using[0]}"
        raise RecipeError(where, given="the role judge is used, not bound", expected=FORMS, todo="add --judge ...")
    settings = [text.removeprefix(PREFIX) for text in config.overrides if text.startswith(PREFIX)]
    _refuse_idle(config, settings, used=bool(using))
    _refuse_unasked(config.judge, recipes)
    for recipe in recipes:
        _refuse_nested(recipe)
    if not config.judge:
        return Roles()
    prompts = Path(config.prompts).expanduser() if config.prompts else None
    if prompts is not None:
        check_folder(prompts)
    folder = Path(config.chat_cache).expanduser() if config.chat_cache else root.parent / ".chat"
    return Roles(bind(config.judge, folder, settings, mine=config.service_is_mine), prompts)


def _refuse_idle(config: RunConfig, settings: Sequence[str], *, used: bool) -> None:
    """An option that would do nothing is an error."""
    given = {
        "--judge": bool(config.judge) and not used,
        "--prompts": bool(config.prompts) and not config.judge,
        "--chat-cache": bool(config.chat_cache) and not config.judge,
        "--service-is-mine": config.service_is_mine and not any(spec.startswith("openai:") for spec in config.judge),
        "--set judge.": bool(settings) and not config.judge,
    }
    for option, idle in given.items():
        if idle:
            todo = "by: chat on a writer, the judge chat_relevance, evaluation.facts=judge; or leave the option out"
            raise RecipeError(option, given="nothing here asks a model", expected="a recipe that does", todo=todo)


def _refuse_unasked(judge: Sequence[str], recipes: Sequence[Recipe]) -> None:
    """Writers and the labels of facts ask the first model alone; more are a panel, which only chat_relevance asks."""
    if len(judge) > 1 and not any(weighs(recipe.pairs) for recipe in recipes):
        given = "nothing here asks a second model"
        todo = "leave it out, or weigh pairs by the judge chat_relevance"
        raise RecipeError(f"--judge {judge[1]}", given=given, expected="a panel", todo=todo)


def _refuse_nested(recipe: Recipe) -> None:
    for config in recipe.pairs:
        judge = config.get("judge")
        if isinstance(judge, Mapping) and judge.get("kind") == "panel" and asks(judge):
            todo = "use chat_relevance itself, and --judge once for each model"
            given = "chat_relevance inside a panel"
            raise RecipeError(f"recipe {recipe.name}", given=given, expected="a panel of its own", todo=todo)


def refuse_outside(roles: Roles, examples: Iterable[Example]) -> None:
    """Raise RecipeError where an example is credentialed and a role is bound to an outside service."""
    outside = [chat.identity for chat in roles.chats if chat.outside]
    held = next((example for example in examples if example.credentialed), None) if outside else None
    if held is not None:
        given = f"credentialed data ({held.source or held.id}) and an outside service"
        todo = "bind a local model, or say --service-is-mine if the service is your own"
        raise RecipeError(f"--judge {outside[0]}", given=given, expected="data that may leave", todo=todo)


def judge_of(roles: Roles) -> list[str]:
    """What of the bound models decides how facts are labelled: who is asked, and the wording."""
    return [roles.chats[0].identity, load_template(PROMPT, roles.prompts).label]


def spent(roles: Roles, *, since: Mapping[str, float] | None = None) -> dict[str, float]:
    """What the bound models have done in this process (``since`` an earlier count), as counts for a manifest."""
    tallies = [chat.tally for chat in roles.chats if hasattr(chat, "tally")]
    if not tallies:
        return {}
    prices = [tally.usage.cost_usd for tally in tallies if tally.usage.cost_usd is not None]
    counts = {
        "chat_asked": sum(tally.asked for tally in tallies),
        "chat_from_cache": sum(tally.from_cache for tally in tallies),
        "chat_unanswered": sum(tally.unanswered for tally in tallies),
        "chat_tokens_in": sum(tally.usage.tokens_in for tally in tallies),
        "chat_tokens_out": sum(tally.usage.tokens_out for tally in tallies),
        **({"chat_cost_usd": sum(prices)} if prices else {}),
    }
    return {name: round(count - (since or {}).get(name, 0), 6) for name, count in counts.items()}
