"""One example through one builder: drafts, spans, corrupt view, weight, provenance; a pair, or a reason for none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import medpref
from medpref.curation.builder import Builder
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.views import View, Views
from medpref.language.answers import normalise
from medpref.language.diff import spans
from medpref.schema import CHOSEN, CLEAN, CORRUPT, REJECTED, Example, PreferencePair, Reply


class Dropped(NamedTuple):
    """Why an example gave no pair, and at which step."""

    reason: str
    step: str


def assemble(
    builder: Builder, example: Example, context: Context, views: Views | None, *, mined: Mapping[str, Any] | None = None
) -> PreferencePair | Dropped:
    """The pair that a builder makes of an example; its weight is the judge's, before any reweighing."""
    draft = write(builder, example, context)
    if isinstance(draft, Refused):
        return Dropped(draft.reason, "write")
    view = views.make(example, seed=context.seed) if views else None
    if isinstance(view, str) and REJECTED not in draft.replies:
        return Dropped(view, "view")
    weight, verdict = _weigh(builder, example, draft, view)
    images = {CLEAN: example.images} | ({CORRUPT: view.images} if isinstance(view, View) else {})
    return PreferencePair(
        id=f"{builder.name}/{example.id}",
        example=example.id,
        patient=example.patient,
        question=example.question,
        views=images,
        replies=marked(draft.replies),
        weight=weight,
        kind=example.kind,
        provenance={
            "medpref": medpref.__version__,
            "builder": builder.name,
            "config": dict(builder.config),
            "seed": context.seed,
            **({"policy": context.policy_hash} if context.policy_hash else {}),
            "source": example.source,
            "answer": example.answer,
            **draft.notes,
            **_seen(view),
            **({"verdict": verdict} if verdict else {}),
            **({"mined": dict(mined)} if mined else {}),
        },
    )


def write(builder: Builder, example: Example, context: Context) -> Draft | Refused:
    """Both replies with their notes: the chosen first, then (unless its writer wrote both) the rejected."""
    draft = builder.chosen.write(example, context, role=CHOSEN, other=None)
    if isinstance(draft, Refused) or builder.rejected is None or REJECTED in draft.replies:
        return _distinct(draft)
    second = builder.rejected.write(example, context, role=REJECTED, other=draft)
    if isinstance(second, Refused):
        return second
    return _distinct(Draft({**draft.replies, **second.replies}, {**draft.notes, **second.notes}))


def _distinct(draft: Draft | Refused) -> Draft | Refused:
    if isinstance(draft, Draft) and REJECTED in draft.replies:
        chosen, rejected = draft.replies[CHOSEN].text, draft.replies[REJECTED].text
        if normalise(chosen) == normalise(rejected):
            return Refused("chosen and rejected say the same")
    return draft


def marked(replies: Mapping[str, Reply]) -> dict[str, Reply]:
    """The replies with the spans in which chosen and rejected differ."""
    if REJECTED not in replies:
        return dict(replies)
    ours, theirs = spans(replies[CHOSEN].text, replies[REJECTED].text)
    return {
        **replies,
        CHOSEN: replies[CHOSEN].model_copy(update={"spans": ours}),
        REJECTED: replies[REJECTED].model_copy(update={"spans": theirs}),
    }


def _weigh(
    builder: Builder, example: Example, draft: Draft, view: View | str | None
) -> tuple[float, dict[str, Any] | None]:
    """The judge's verdict on the rejected reply (else the chosen one) as a weight; 1 where it did not judge."""
    if builder.judge is None:
        return 1.0, None
    located = example.model_copy(update={"regions": view.regions}) if isinstance(view, View) else example
    reply = draft.replies.get(REJECTED, draft.replies[CHOSEN]).text
    verdict = builder.judge.judge(located, reply)
    stored = {"judge": builder.judge.kind, **verdict._asdict(), "evidence": dict(verdict.evidence)}
    return (1.0 if verdict.value is None else max(0.0, float(verdict.value))), stored


def _seen(view: View | str | None) -> dict[str, Any]:
    if view is None:
        return {}
    if isinstance(view, str):
        return {"no_corrupt_view": view}
    regions = [region.model_dump(mode="json", exclude={"mask"}) for region in view.regions]
    return {"regions": regions, "corruption": dict(view.parameters)}
