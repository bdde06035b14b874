"""The evaluation stage: replies, probes, verdicts, estimates and alarms of one model, into one folder.

Replies, probes and scores go in fixed chunks that are journalled whole, so a killed run computes exactly the chunks
it lacks, in the same batches, and ends with the same bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from medpref import store
from medpref.evaluation.alarms import alarms
from medpref.evaluation.asked_facts import FactRows, asked_by, read_rows
from medpref.evaluation.attention import layer_curve
from medpref.evaluation.chunks import by_chunk, chunks
from medpref.evaluation.clinical import Scorer, clinical_rows, clinical_scores, scorer_of
from medpref.evaluation.drift import chosen_drift
from medpref.evaluation.estimate import estimates
from medpref.evaluation.findings import report_rows
from medpref.evaluation.overlay import FILE as MAPS
from medpref.evaluation.overlay import Draw, overlays, wrong_cases
from medpref.evaluation.probe import Read, probe_all, probe_pair
from medpref.evaluation.robustness import CURVES, ROWS, robustness
from medpref.evaluation.text import text_rows
from medpref.evaluation.views import ProbeImages, wrong_images
from medpref.evaluation.vqa import answer_rows, constant_answers, row_of
from medpref.imaging.decode import read_image
from medpref.models.chat import NOBODY, Roles
from medpref.progress import track
from medpref.recipe import Evaluation
from medpref.schema import Example, OwnReply, Verdict, VerdictRow

if TYPE_CHECKING:
    from medpref.models.policy import Policy

Answer = Callable[[Sequence[Example]], list[OwnReply]]
ATTENTION = "attention.json"
PLAIN = Evaluation()
MAX_NEW_TOKENS = 96


class Judge(Protocol):
    """Anything that judges a reply."""

    def judge(self, example: Example, reply: str) -> Verdict: ...


def evaluate(
    policy: Policy,
    examples: Sequence[Example],
    out: Path,
    *,
    root: Path,
    train_examples: Sequence[Example],
    seed: int,
    synthetic: bool,
    max_new_tokens: int = MAX_NEW_TOKENS,
    judges: Mapping[str, Judge] | None = None,
    steps: Sequence[Mapping[str, Any]] = (),
    settings: Evaluation = PLAIN,
    roles: Roles = NOBODY,
) -> dict[str, int]:
    """Write replies.jsonl, verdicts.jsonl and estimates.json into ``out``; returns counts. Resumes from its journal.

    Each of ``judges`` (name to judge) adds the metric ``judge_NAME``; a reply that it does not judge counts nowhere.
    ``steps`` are the rows that training logged, for the alarm of a falling chosen log-probability. ``settings`` switch
    on what costs more: robustness.json and robustness.jsonl; attention.json, maps.json and rows of attention; facts
    labelled by the model of ``roles``; metrics of the package radeval.
    """
    from medpref.evaluation.read import engine_reader

    plan = Plan(
        tuple(examples),
        tuple(train_examples),
        Path(out),
        Path(root),
        seed=seed,
        synthetic=synthetic,
        judges=judges or {},
        steps=tuple(steps),
        facts=asked_by(roles) if settings.facts == "judge" else read_rows,
        clinical={name: scorer_of(name) for name in settings.radeval},
    )
    counts = {}
    if settings.robustness:
        degraded = engine_reader(policy, plan.root, cache=None)
        counts["degraded"] = withstand(plan, degraded, limit=settings.robustness_limit)
    answer = policy_answers(policy, plan.root, max_new_tokens=max_new_tokens, seed=seed)
    look = policy_look(policy, plan.root) if settings.attention else None
    return carry_out(plan, answer=answer, read=engine_reader(policy, plan.root), look=look) | counts


@dataclass(frozen=True)
class Plan:
    """What is evaluated, and where: examples, the train split beside them, the stage's folder, the run's root."""

    examples: tuple[Example, ...]
    train: tuple[Example, ...]
    out: Path
    root: Path
    seed: int
    synthetic: bool
    judges: Mapping[str, Judge] = field(default_factory=dict)
    steps: tuple[Mapping[str, Any], ...] = ()
    facts: FactRows = read_rows
    clinical: Mapping[str, Scorer] = field(default_factory=dict)

    @property
    def reports(self) -> list[Example]:
        """The examples that ask for a report."""
        return [example for example in self.examples if example.answer_type == "report"]


@dataclass(frozen=True)
class Look:
    """A model's attention: the rows of some examples, and maps of one example and its reply by kind."""

    rows: Callable[[Sequence[Example]], list[list[VerdictRow]]]
    draws: Mapping[str, Draw]


def carry_out(plan: Plan, *, answer: Answer, read: Read, look: Look | None = None) -> dict[str, int]:
    """The stage with any model behind ``answer`` (examples to replies) and ``read`` (pairs to log-probabilities)."""
    counts = {}
    with store.Journal(plan.out / "journal.jsonl") as journal:
        replies = _replies(plan, journal, answer)
        texts = {name: reply.text for name, reply in replies.items()}
        probed = _probed(plan, journal, read)
        judged = _judged(plan, journal, replies)
        rows = verdicts(plan, texts, probed) + judged + _scored(plan, journal, texts)
        if look is not None:
            seen = _seen(plan, journal, look)
            counts["maps"] = _mapped(plan, journal, look, rows=rows, texts=texts)
            store.write_json(plan.out / ATTENTION, layer_curve(seen, seed=plan.seed))
            rows += seen
    store.write_lines(plan.out / "replies.jsonl", [replies[example.id] for example in plan.examples])
    store.write_lines(plan.out / "verdicts.jsonl", rows)
    measured = estimates(rows, seed=plan.seed)
    signs = [
        *chosen_drift(plan.steps),
        *alarms(plan.examples, texts, plan.train, rows, synthetic=plan.synthetic),
    ]
    found = {
        "model": plan.out.name.removesuffix(".partial"),
        "synthetic": plan.synthetic,
        "estimates": measured,
        "alarms": [alarm._asdict() for alarm in signs],
    }
    store.write_json(plan.out / "estimates.json", found)
    (plan.out / "journal.jsonl").unlink()
    return {"questions": len(plan.examples), "verdicts": len(rows), "estimates": len(measured)} | counts


def verdicts(plan: Plan, replies: Mapping[str, str], probed: Mapping[str, Sequence[VerdictRow]]) -> list[VerdictRow]:
    """Every row of every example, in the order of the examples: the reply's, its text overlap's, the probe's."""
    constants = constant_answers(plan.train)
    reports = plan.reports
    overlap = text_rows(reports, [replies[example.id] for example in reports])
    stated = plan.facts(reports, replies)
    texts = {one.id: facts + held for one, facts, held in zip(reports, stated, overlap, strict=True)}
    rows: list[VerdictRow] = []
    for example in plan.examples:
        reply = replies[example.id]
        if example.answer_type == "report":
            rows += report_rows(example, reply) + texts[example.id]
        else:
            rows += answer_rows(example, reply, constants.get(example.kind))
        rows += probed[example.id]
    return rows


def policy_answers(policy: Policy, root: Path, *, max_new_tokens: int, seed: int) -> Answer:
    """Greedy replies of a policy, with their decoding settings and a hash of what was asked."""
    from medpref.models.generate import Request, generate

    def answer(examples: Sequence[Example]) -> list[OwnReply]:
        requests = [
            Request(example.id, tuple(read_image(image.locate(root)) for image in example.images), example.question)
            for example in examples
        ]
        found = generate(policy, requests, max_new_tokens=max_new_tokens, seed=seed)
        return [
            OwnReply(
                example=example.id,
                text=one.text,
                log_probs=tuple(one.log_probs),
                decoding=f"greedy max_new_tokens={max_new_tokens} prompt={_asked(example)}",
            )
            for example, (one, *_) in zip(examples, found, strict=True)
        ]

    return answer


def _asked(example: Example) -> str:
    return store.digest([example.question, [image.sha256 for image in example.images]])[:12]


def _replies(plan: Plan, journal: store.Journal, answer: Answer) -> dict[str, OwnReply]:
    def work(chunk: Sequence[Example]) -> list[Any]:
        return [reply.model_dump(mode="json") for reply in answer(chunk)]

    values = track(by_chunk(plan.examples, journal, "replies", work), "replies", total=len(plan.examples))
    return {value["example"]: OwnReply.model_validate(value) for value in values}


def _probed(plan: Plan, journal: store.Journal, read: Read) -> dict[str, list[VerdictRow]]:
    images = ProbeImages(plan.root / store.CACHE / "probe", root=plan.root, seed=plan.seed)
    wrong = wrong_images(plan.examples, seed=plan.seed)

    def work(chunk: Sequence[Example]) -> list[Any]:
        pairs = [probe_pair(example, images.views(example, wrong.get(example.id))) for example in chunk]
        rows = probe_all(chunk, pairs, read)
        return [[row.model_dump(mode="json") for row in held] for held in rows]

    values = track(by_chunk(plan.examples, journal, "probe", work), "probes", total=len(plan.examples))
    order = [example.id for chunk in chunks(plan.examples) for example in chunk]
    return {name: [VerdictRow.model_validate(row) for row in held] for name, held in zip(order, values, strict=True)}


def _judged(plan: Plan, journal: store.Journal, replies: Mapping[str, OwnReply]) -> list[VerdictRow]:
    rows = []
    for name, judge in plan.judges.items():
        for example in track(plan.examples, f"judge {name}"):
            work = functools.partial(judge.judge, example, replies[example.id].text)
            value, reason, evidence = journal.get(f"judge/{name}/{example.id}", work)
            rows.append(row_of(example, f"judge_{name}", value, reason=reason, evidence=dict(evidence)))
    return rows


def _scored(plan: Plan, journal: store.Journal, texts: Mapping[str, str]) -> list[VerdictRow]:
    rows = []
    order = [example.id for chunk in chunks(plan.reports) for example in chunk]
    for name, score in plan.clinical.items():
        work = functools.partial(clinical_scores, name, replies=texts, score=score)
        given = track(by_chunk(plan.reports, journal, f"radeval/{name}", work), f"radeval {name}", total=len(order))
        rows += clinical_rows(name, plan.reports, dict(zip(order, given, strict=True)))
    return rows


def _seen(plan: Plan, journal: store.Journal, look: Look) -> list[VerdictRow]:
    def work(chunk: Sequence[Example]) -> list[Any]:
        return [[row.model_dump(mode="json") for row in held] for held in look.rows(chunk)]

    values = track(by_chunk(plan.examples, journal, "attention", work), "attention", total=len(plan.examples))
    return [VerdictRow.model_validate(row) for held in values for row in held]


def _mapped(plan: Plan, journal: store.Journal, look: Look, *, rows: list[VerdictRow], texts: Mapping[str, str]) -> int:
    cases = wrong_cases(plan.examples, rows, seed=plan.seed)
    found = overlays(list(track(cases, "maps")), texts, look.draws, journal=journal)
    store.write_json(plan.out / MAPS, found)
    return len(found)


def withstand(plan: Plan, read: Read, *, limit: int) -> int:
    """How many questions were read with degraded images; what an earlier attempt finished is not read again."""
    held = plan.out / ROWS
    if not (plan.out / CURVES).exists():
        robustness(plan.examples, plan.out, root=plan.root, read=read, seed=plan.seed, limit=limit)
    return len({row["example"] for _, row in store.iter_lines(held)})


def policy_look(policy: Policy, root: Path) -> Look:
    """The attention of a policy, and its maps: attention, and saliency of the reply that it gave."""
    from medpref.evaluation.attend import attention_map, attention_rows, saliency_map

    return Look(
        rows=lambda examples: attention_rows(policy, examples, root=root),
        draws={
            "attention": lambda example, reply: attention_map(policy, example, root=root),
            "saliency": lambda example, reply: saliency_map(policy, example, reply, root=root),
        },
    )
