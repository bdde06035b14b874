"""The wrong-answer browser's data: each example that some model got wrong, with every model's reply and verdict.

A reply is wrong where its leading verdict is below one half. The leading verdict is the first of ``LEADING`` that the
example has (one that was judged, if there is one); an example with none of them has the first of its other verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from medpref import store
from medpref.report.budget import fit, spread_over
from medpref.report.gallery import is_pictured, region_entries
from medpref.report.heat import heat_uri
from medpref.report.thumbnail import Thumbnails
from medpref.report.values import Evaluated, Run
from medpref.report.words import metric_words, model_label, part_label
from medpref.schema import Example, VerdictRow

LEADING = ("closed_accuracy", "open_exact", "accuracy", "exact", "correct", "report_findings", "finding_f1", "open_f1")
NOT_LEADING = (
    "legacy_",
    "constant_",
    "gain_",
    "blind_",
    "flip_",
    "grounding_",
    "counterfactual_",
    "answer_log_prob",
    "attention_",
)
HALF = 0.5
MOST_MAPPED = 24


class Judged(NamedTuple):
    """One model's reply to one example; ``value`` None means not judged."""

    text: str
    value: float | None
    reason: str
    metric: str

    @property
    def wrong(self) -> bool:
        return self.value is not None and self.value < HALF


class Failures(NamedTuple):
    """Wrong and judged answers of one question type, a model at a time."""

    kind: str
    cells: tuple[tuple[int, int], ...]


def judged(model: Evaluated) -> dict[str, Judged]:
    """Each example's reply with its leading verdict."""
    rows: dict[str, list[VerdictRow]] = {}
    for row in model.verdicts:
        if not row.metric.startswith(NOT_LEADING):
            rows.setdefault(row.example, []).append(row)
    found = {}
    for reply in model.replies:
        held = sorted(rows.get(reply.example, ()), key=_precedence)
        value, reason, metric = (held[0].value, held[0].reason, held[0].metric) if held else (None, "", "")
        found[reply.example] = Judged(reply.text, value, reason, metric)
    return found


def failures(run: Run, by_model: Sequence[dict[str, Judged]]) -> list[Failures]:
    """Wrong answers by question type, of all examples that were judged."""
    wrong, all_of = (Counter[tuple[int, str]](), Counter[tuple[int, str]]())
    for place, held in enumerate(by_model):
        for example, answer in held.items():
            if answer.value is not None and example in run.dataset.examples:
                key = (place, run.dataset.examples[example].kind)
                all_of[key] += 1
                wrong[key] += answer.wrong
    kinds = sorted({kind for _, kind in all_of})
    places = range(len(by_model))
    return [Failures(kind, tuple((wrong[place, kind], all_of[place, kind]) for place in places)) for kind in kinds]


def wrong_answers(
    run: Run, by_model: Sequence[dict[str, Judged]], *, thumbnails: Thumbnails, budget: int
) -> dict[str, Any]:
    """Entries of the examples that some model got wrong, as many as fit; ``total`` counts all of them."""
    paths: dict[str, int] = {}
    seen = dict.fromkeys(example for held in by_model for example, answer in held.items() if answer.wrong)
    examples = [run.dataset.examples[example] for example in seen if example in run.dataset.examples]
    mapped = cases(run, seen)
    first = fit([one for one in examples if one.id in mapped], entry_of(by_model, paths), budget=budget)
    spent = sum(len(store.to_json(entry).encode()) + 1 for _, entry in first)
    rest = fit([one for one in examples if one.id not in mapped], entry_of(by_model, paths), budget=budget - spent)
    for example, entry in (*spread_over(first), *spread_over(rest)):
        entry["views"] = {"clean": [thumbnails.view(None, ref) for ref in example.images]}
        if example.id in mapped:
            entry["maps"] = _maps(run, example, thumbnails)
    entries = sorted((entry for _, entry in (*first, *rest)), key=lambda entry: not is_pictured(entry))
    return {
        "entries": entries,
        "pictured": sum(map(is_pictured, entries)),
        "mapped": sum(bool(entry.get("maps")) for entry in entries),
        "paths": list(paths),
        "models": [[model.name, model_label(model.name)] for model in run.models],
        "total": len(examples),
    }


def cases(run: Run, wrong: Collection[str]) -> set[str]:
    """At most 24 wrongly answered examples that have maps, those with maps of most models first."""
    counts = Counter(name for model in run.models for name in {held.example for held in model.maps} if name in wrong)
    return {name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_MAPPED]}


def _maps(run: Run, example: Example, thumbnails: Thumbnails) -> list[list[Any]]:
    """``[number of the model, kind, key of the picture]`` of each map of an example that has room on the page."""
    found = []
    for place, model in enumerate(run.models):
        for held in model.maps:
            if held.example == example.id:
                key = thumbnails.overlay(heat_uri(held), (held.columns, held.rows))
                found.append([place, held.kind, key])
    return [entry for entry in found if entry[2] is not None]


def entry_of(by_model: Sequence[dict[str, Judged]], paths: dict[str, int]) -> Callable[[Example], dict[str, Any]]:
    """The function from an example to its entry; outlines are added to ``paths``."""
    return lambda example: wrong_entry(example, by_model, paths=paths)


def wrong_entry(example: Example, by_model: Sequence[dict[str, Judged]], *, paths: dict[str, int]) -> dict[str, Any]:
    """One example as JSON-able data, without its pictures; ``replies`` are in the models' order, null for none."""
    return {
        "id": example.id,
        "kind": example.kind,
        "question": example.question,
        "answer": example.answer,
        "tags": ", ".join(part_label(f"{key}={value}") for key, value in example.tags.items()),
        "regions": region_entries(example.regions, paths),
        "replies": [_reply_entry(held.get(example.id)) for held in by_model],
    }


def _reply_entry(answer: Judged | None) -> list[Any] | None:
    if answer is None:
        return None
    state = "none" if answer.value is None else ("wrong" if answer.wrong else "right")
    metric = metric_words(answer.metric).label if answer.metric else ""
    return [answer.text, state, answer.reason, metric]


def _precedence(row: VerdictRow) -> tuple[bool, bool, int]:
    leading = row.metric in LEADING
    return not leading, row.value is None, LEADING.index(row.metric) if leading else 0
