"""Replies sampled from the policy for the writers that ask for them, journalled batch by batch.

Beside the localizers that ask a model, the only place of curation that runs one; torch is loaded with the first draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from medpref import store
from medpref.curation.builder import Builder
from medpref.curation.draft import Context
from medpref.curation.write import Sample, plan_key
from medpref.errors import RecipeError
from medpref.imaging.decode import read_image, to_array
from medpref.imaging.localize import whole
from medpref.progress import track
from medpref.registry import CORRUPTIONS
from medpref.schema import CLEAN, CORRUPT, Example, OwnReply
from medpref.seeds import generator

BATCH = 32
Sampler = Callable[[Sequence[Example], Sample, int], list[list[OwnReply]]]
Samples = dict[str, dict[str, tuple[str, ...]]]


def plans(builders: Sequence[Builder]) -> list[Sample]:
    """The distinct sampling plans that the builders' writers need beyond the greedy replies."""
    found: dict[str, Sample] = {}
    for builder in builders:
        for writer in (builder.chosen, builder.rejected):
            plan = writer if isinstance(writer, Sample) else getattr(writer, "plan", None)
            if plan is not None and (plan.temperature > 0 or plan.corrupt is not None):
                found.setdefault(plan_key(plan), plan)
    return list(found.values())


def draw_samples(
    builders: Sequence[Builder],
    examples: Sequence[Example],
    context: Context,
    journal: store.Journal,
    *,
    sampler: Sampler | None,
) -> tuple[Samples, list[OwnReply]]:
    """The sampled texts by plan and example, and all of them as rows for ``replies.jsonl``."""
    samples: Samples = {}
    rows: list[OwnReply] = []
    for plan in plans(builders):
        if sampler is None:
            todo = "pass a policy, or use temperature: 0.0"
            raise RecipeError("pairs", given="a writer that samples", expected="a policy to sample from", todo=todo)
        held: dict[str, tuple[str, ...]] = {}
        for start in track(range(0, len(examples), BATCH), "sampled replies"):
            chunk = examples[start : start + BATCH]
            entry = f"sample/{plan_key(plan)}/{start}"
            made = journal.get(entry, lambda c=chunk, p=plan: _rows(sampler, c, p, context.seed))  # type: ignore[misc]
            for group in made:
                replies = [OwnReply.model_validate(row) for row in group]
                rows += replies
                if replies:
                    held[replies[0].example] = tuple(reply.text for reply in replies)
        samples[plan_key(plan)] = held
    return samples, rows


def _rows(sampler: Sampler, examples: Sequence[Example], plan: Sample, seed: int) -> list[list[dict[str, Any]]]:
    return [[reply.model_dump(mode="json") for reply in group] for group in sampler(examples, plan, seed)]


def policy_sampler(policy: Any, root: Path) -> Sampler:
    """A sampler over a policy (`models.policy.Policy`), or over what a callable loads on first use."""
    loaded: list[Any] = []

    def sample(examples: Sequence[Example], plan: Sample, seed: int) -> list[list[OwnReply]]:
        from medpref.models.generate import Request, generate

        requests = [Request(one.id, shown(one, plan, root, seed=seed), one.question) for one in examples]
        if not loaded:
            loaded.append(policy() if callable(policy) else policy)
        made = generate(
            loaded[0],
            requests,
            max_new_tokens=plan.max_new_tokens,
            temperature=plan.temperature,
            top_p=plan.top_p,
            n=plan.n,
            seed=seed,
        )
        told = {
            "decoding": f"temperature {plan.temperature:g}, top_p {plan.top_p:g}",
            "view": CLEAN if plan.corrupt is None else CORRUPT,
        }
        return [
            [OwnReply(example=one.id, text=g.text, log_probs=tuple(g.log_probs), **told) for g in group]
            for one, group in zip(examples, made, strict=True)
        ]

    return sample


def shown(example: Example, plan: Sample, root: Path, *, seed: int) -> tuple[Image.Image, ...]:
    """The images that the policy sees: the example's, each as a whole under the plan's corruption if it has one."""
    images = tuple(read_image(ref.locate(root)) for ref in example.images)
    if plan.corrupt is None:
        return images
    corruption = CORRUPTIONS.parse(plan.corrupt, where="writer 'sample', corrupt")
    made = []
    for index, array in enumerate(map(to_array, images)):
        rng = generator(seed, "sample", plan_key(plan), example.id, str(index))
        parameters = corruption.draw(array, whole(array, index=index, origin="sample"), rng)
        made.append(Image.fromarray(corruption.apply(array, parameters)))
    return tuple(made)
