"""One question of a writer to the bound language model: its answer, or the reason why there is no pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

from medpref.curation.draft import Context, Refused
from medpref.language.templates import load_template
from medpref.models.chat import ChatRequest, ask_one
from medpref.schema import Example

Form = TypeVar("Form", bound=BaseModel)


def ask_form(
    name: str, form: type[Form], example: Example, context: Context, rule: Callable[[], Form | None], **values: Any
) -> tuple[Form, dict[str, Any]] | Refused:
    """The filled form with notes for provenance (model, prompt, key of the question), or Refused with the reason.

    ``name`` is the prompt's, ``values`` fill it; the example's question and answer always do. ``rule`` is the answer
    of the rule-based path.
    """
    if not context.roles.chats:
        return Refused("no language model is bound to the role judge")
    chat = context.roles.chats[0]
    prompt = load_template(name, context.roles.prompts)
    text = prompt.fill(**{"question": example.question, "answer": example.answer, **values})
    request = ChatRequest(text, form, rule, example.credentialed)
    answer = ask_one(chat, request)
    if answer.value is None:
        return Refused(f"{name}: {answer.reason}")
    assert isinstance(answer.value, form)
    return answer.value, {"model": answer.model, "prompt": prompt.label, "request": request.key}
