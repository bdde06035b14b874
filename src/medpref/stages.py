"""The stages: each is a function of configuration and folders named before it, and writes one folder of its own.

They meet here and in files. Heavy imports stand inside the work, so that a finished run is skipped in a moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from medpref import store
from medpref.errors import DataError
from medpref.models.chat import NOBODY, Roles
from medpref.recipe import Evaluation, Train
from medpref.schema import SPLITS, Example, OwnReply, PreferencePair
from medpref.supervised import control_digest

EXAMPLES, REPLIES, PAIRS, TRAIN, EVAL, REPORT = "examples", "replies", "pairs", "train", "eval", "report"
INSTRUCTIONS = "instructions"
READ_AS_TEXT = {".jsonl", ".json", ".csv", ".txt", ".parquet"}
Manifest = dict[str, Any]


def loaded(spec: str) -> Any:
    """The policy of a spec on this machine's device: a GPU in bfloat16 where there is one, else the CPU in float32."""
    import torch

    from medpref.models.policy import load_policy

    return load_policy(spec, device="cuda", dtype="bfloat16") if torch.cuda.is_available() else load_policy(spec)


def load_examples(root: Path) -> list[Example]:
    """The examples of a run folder, in their order."""
    return store.read_lines(store.require(root / EXAMPLES, "examples.jsonl"), Example)


def load_train(root: Path, *, made: bool) -> list[Example]:
    """The train examples of a run folder and, where its recipe has ``instructions``, those ``made`` of them."""
    more = store.read_lines(store.require(root / INSTRUCTIONS, "examples.jsonl"), Example) if made else []
    return [example for example in load_examples(root) if example.split == "train"] + more


def load_pairs(root: Path, name: str) -> list[PreferencePair]:
    """The pairs of one curation of a run folder."""
    return store.read_lines(store.require(root / PAIRS / name, "pairs.jsonl"), PreferencePair)


def examples_stage(root: Path, source: Any, *, seed: int) -> Manifest:
    """examples/: what the source yields, checked, with its splits."""

    def work(out: Path) -> Mapping[str, Any]:
        from medpref.progress import track
        from medpref.sources.splits import check_examples, splits

        examples = list(track(source.load(out, seed=seed, prefix=EXAMPLES), "examples"))
        check_examples(examples, where=f"source {source.kind}")
        store.write_lines(out / "examples.jsonl", examples)
        store.write_json(out / "splits.json", splits(examples))
        return {split: sum(example.split == split for example in examples) for split in SPLITS}

    inputs = {"source": source.model_dump(mode="json"), "seed": seed, "files": _fingerprint(source)}
    return store.stage(root / EXAMPLES, name=EXAMPLES, inputs=inputs, work=work)


def _fingerprint(source: Any) -> list[list[Any]]:
    """Name, size and time of the text files a source reads: a changed file is read again."""
    paths = [Path(getattr(source, field)) for field in ("folder", "file") if getattr(source, field, None)]
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    kept = [file for file in files if file.suffix in READ_AS_TEXT and file.is_file()]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in kept]


def train_stage(
    root: Path,
    name: str,
    *,
    start: str,
    start_hash: str,
    pairs: Sequence[PreferencePair] | Any,
    pairs_hash: str,
    objective: Sequence[Mapping[str, Any]],
    settings: Train,
    seed: int,
) -> Manifest:
    """train/NAME/: ``start`` (a policy spec) trained on pairs; ``pairs`` may be a function that reads them."""

    def work(out: Path) -> Mapping[str, Any]:
        from medpref.objectives.objective import parse_objective
        from medpref.training.train import train

        read = pairs() if callable(pairs) else pairs
        aim = parse_objective(list(objective), where=f"train {name}, objective")
        policy = loaded(start)
        return train(policy, read, aim, settings, out=out, root=root, seed=seed, label=name)

    inputs = {
        "start": start_hash,
        "pairs": pairs_hash,
        "objective": [dict(term) for term in objective],
        "train": settings.model_dump(mode="json"),
        "seed": seed,
    }
    return store.stage(root / TRAIN / name, name=f"{TRAIN}/{name}", inputs=inputs, work=work)


def replies_stage(root: Path, *, policy: str, policy_hash: str, seed: int, batch: int = 64, made: str = "") -> Manifest:
    """replies/: the policy's own greedy replies to the train examples, journalled batch by batch.

    ``made`` is the hash of the instructions whose examples are among them.
    """

    def work(out: Path) -> Mapping[str, Any]:
        from medpref.progress import track

        examples = load_train(root, made=bool(made))
        model = loaded(policy)
        with store.Journal(out / "journal.jsonl") as journal:
            for start in track(range(0, len(examples), batch), "own replies"):
                if str(start) not in journal.done:
                    journal.put(str(start), _reply(model, examples[start : start + batch], root, seed=seed))
            rows = [row for start in range(0, len(examples), batch) for row in journal.done[str(start)]]
        store.write_lines(out / "replies.jsonl", rows)
        (out / "journal.jsonl").unlink()
        return {"replies": len(rows)}

    inputs = {"policy": policy_hash, "seed": seed, **({"instructions": made} if made else {})}
    return store.stage(root / REPLIES, name=REPLIES, inputs=inputs, work=work)


def _reply(policy: Any, examples: Sequence[Example], root: Path, *, seed: int) -> list[Any]:
    from medpref.imaging.decode import read_image
    from medpref.models.generate import Request, generate

    requests = [
        Request(example.id, tuple(read_image(image.locate(root)) for image in example.images), example.question)
        for example in examples
    ]
    answers = generate(policy, requests, max_new_tokens=96, seed=seed)
    return [
        OwnReply(example=example.id, text=answer[0].text, log_probs=tuple(answer[0].log_probs)).model_dump(mode="json")
        for example, answer in zip(examples, answers, strict=True)
    ]


def pairs_stage(
    root: Path,
    name: str,
    *,
    builders: Sequence[Mapping[str, Any]],
    imported: Any,
    imported_hash: str,
    inputs: Mapping[str, Any],
    policy: str,
    seed: int,
    roles: Roles = NOBODY,
) -> Manifest:
    """pairs/NAME/: what the builders make of the train examples, and the source's own pairs where asked for.

    ``policy`` is loaded only where a writer samples from it, a localizer asks it, or a corrupt view is checked for
    evidence; its hash is ``inputs["policy"]``. ``roles`` are the language models that the builders may ask.
    """

    def work(out: Path) -> Mapping[str, Any]:
        from medpref.evidence import reference_reader
        from medpref.roles import spent

        before = spent(roles)
        own = store.read_lines(root / REPLIES / "replies.jsonl", OwnReply) if "replies" in inputs else []
        load = cache(lambda: loaded(policy))
        given: dict[str, Any] = {"imported": imported, "own": own, "made": "instructions" in inputs}
        models: dict[str, Any] = {
            "policy": load,
            "policy_hash": str(inputs["policy"]),
            "reader": reference_reader(load, root),
        }
        counts = _build(root, name, out, builders, **given, seed=seed, roles=roles, **models)
        return counts | spent(roles, since=before)

    full = {**inputs, "builders": [dict(builder) for builder in builders], "imported": imported_hash, "seed": seed}
    return store.stage(root / PAIRS / name, name=f"{PAIRS}/{name}", inputs=full, work=work)


def _build(
    root: Path,
    name: str,
    out: Path,
    builders: Sequence[Mapping[str, Any]],
    *,
    imported: Any,
    own: Sequence[OwnReply],
    made: bool,
    **settings: Any,
) -> dict[str, Any]:
    """Counts of the pairs made of the run's train examples, and the digest of what a matched control trains on."""
    from medpref.curation.build import build_pairs

    examples = load_examples(root)
    counts: dict[str, Any] = build_pairs(
        builders,
        load_train(root, made=made),
        {reply.example: reply for reply in own},
        out,
        root=root,
        prefix=f"{PAIRS}/{name}",
        imported=imported(examples),
        held_out=[example for example in examples if example.split != "train"],
        **settings,
    )
    if not counts.get("pairs"):
        raise DataError(
            f"pairs/{name}",
            given="no pair came out of curation",
            expected="at least one",
            todo=f"look at the reasons in {out / 'dropped.jsonl'}",
        )
    return counts | {"control": control_digest(store.read_lines(out / "pairs.jsonl", PreferencePair))}


def evaluate_stage(
    root: Path,
    name: str,
    *,
    policy: str,
    inputs: Mapping[str, Any],
    settings: Evaluation,
    seed: int,
    synthetic: bool,
    roles: Roles = NOBODY,
) -> Manifest:
    """eval/NAME/: replies, verdicts and estimates of one model on the evaluation split; counts what ``roles`` spent."""

    def work(out: Path) -> Mapping[str, Any]:
        from medpref.evaluation.evaluate import evaluate
        from medpref.evaluation.questions import questions
        from medpref.roles import spent

        before = spent(roles)
        examples = load_examples(root)
        chosen = questions(examples, settings, seed=seed)
        train = [example for example in examples if example.split == "train"]
        log = root / TRAIN / name / "steps.jsonl"
        steps = [row for _, row in store.iter_lines(log)] if log.exists() else []
        counts: dict[str, Any] = evaluate(
            loaded(policy),
            chosen,
            out,
            root=root,
            train_examples=train,
            seed=seed,
            synthetic=synthetic,
            steps=steps,
            settings=settings,
            roles=roles,
        )
        return counts | spent(roles, since=before)

    full = {**inputs, "evaluation": settings.named(), "seed": seed}
    return store.stage(root / EVAL / name, name=f"{EVAL}/{name}", inputs=full, work=work)


def report_stage(root: Path, *, inputs: Mapping[str, Any], arms: Sequence[str]) -> Manifest:
    """report/: the page with its risk-coverage curves, and a model card beside each trained model.

    Made again where the code of the page has changed.
    """
    from medpref.report.revision import revision

    def work(out: Path) -> Mapping[str, Any]:
        from medpref import confidence
        from medpref.imaging.decode import read_image
        from medpref.report.model_card import write_model_card
        from medpref.report.page import write_report

        curves = confidence.risk_of(root / EVAL)
        store.write_json(out / confidence.FILE, curves)
        counts = write_report(root, out, open_image=read_image, curves=curves)
        for name in arms:
            if (root / TRAIN / name).is_dir():
                write_model_card(root, name, root / TRAIN / name)
        return counts

    return store.stage(root / REPORT, name=REPORT, inputs={**inputs, "page": revision()}, work=work)
