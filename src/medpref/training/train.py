"""The training stage: pairs in, an adapter (or weights) out; resumes from its last complete checkpoint, bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainingArguments

from medpref.engine.encode import EncodedPair, encode_pair
from medpref.engine.features import FEATURES
from medpref.engine.images import ImageStore
from medpref.engine.reference import ReferenceCache
from medpref.engine.score import Reference
from medpref.errors import DataError, ModelError
from medpref.models.policy import Policy, save_policy
from medpref.objectives.objective import Objective
from medpref.progress import track
from medpref.recipe import Train
from medpref.schema import CLEAN, Branch, PreferencePair
from medpref.seeds import derive_seed
from medpref.store import CACHE, digest
from medpref.training.adapter import prepare
from medpref.training.log import StepLog, last_complete
from medpref.training.planner import checkpoint_layers, choose_checkpointing
from medpref.training.sampler import ImageSampler, order
from medpref.training.trainer import PreferenceTrainer, Task

SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def train(
    policy: Policy,
    pairs: Sequence[PreferencePair],
    objective: Objective,
    settings: Train,
    *,
    out: Path,
    root: Path,
    seed: int,
    label: str,
) -> dict[str, Any]:
    """Train ``policy`` on ``pairs`` into ``out``; returns counts (pairs, steps, trained parameters).

    The starting policy is the reference. Of the counts, ``checkpointing`` says what ``auto`` came to. DataError where
    there is no pair, ModelError under a distributed launch.
    """
    if not pairs:
        raise DataError(label, given="no pairs to train on", expected="at least one", todo="look at dropped.jsonl")
    pairs = within_reach(pairs, settings, seed=seed)
    images = ImageStore(policy, cache=root / CACHE / FEATURES)
    needs = objective.needs
    encoded = [encode_pair(policy, pair, root, needs, images) for pair in track(pairs, f"{label}: read pairs")]
    reference = _reference(policy, encoded, objective, settings, root=root, images=images)
    policy = prepare(policy, settings, seed=seed)
    checkpointing = choose_checkpointing(policy, encoded, image_groups(pairs), objective, settings, seed=seed)
    if checkpointing == "layer":
        checkpoint_layers(policy)
    task = Task(policy, objective, encoded, images, reference, settings.max_tokens_per_batch)
    trainer, resumed = _trainer(task, settings, pairs, out=out, seed=seed, label=label)
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    save_policy(policy, out)
    for leftover in out.glob("checkpoint-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    trained = sum(p.numel() for p in policy.model.parameters() if p.requires_grad)
    counts = {"pairs": len(pairs), "steps": trainer.state.global_step, "trained_parameters": trained}
    return {**counts, "checkpointing": checkpointing}


def within_reach(pairs: Sequence[PreferencePair], settings: Train, *, seed: int) -> list[PreferencePair]:
    """The pairs that ``steps`` steps will read: all of them, or where that is less than an epoch, its first ones.

    What is never read needs neither encoding nor a reference. Depends on the images, seed and settings alone, so an arm
    and its matched control read the same pairs.
    """
    reach = settings.batch * (settings.steps or len(pairs))
    if reach >= len(pairs):
        return list(pairs)
    kept = order(image_groups(pairs), seed=seed, epoch=0, grouped=settings.group_by_image)[:reach]
    return [pairs[index] for index in sorted(kept)]


def image_groups(pairs: Sequence[PreferencePair]) -> list[str]:
    """The clean image of each pair, by content: what a sampler groups by."""
    return [pair.views[CLEAN][0].sha256 for pair in pairs]


def _reference(
    policy: Policy,
    encoded: Sequence[EncodedPair],
    objective: Objective,
    settings: Train,
    *,
    root: Path,
    images: ImageStore,
) -> Reference:
    needs = objective.needs
    if not (needs.reference or needs.divergence):
        return None
    if settings.reference == "online":
        if settings.lora is None:
            raise ModelError(
                "train.reference", given="online without LoRA", expected="cached", todo="set train.reference=cached"
            )
        return "online"
    budget = settings.max_tokens_per_batch
    place = root / CACHE / "reference" / _asked(encoded, needs.reference | needs.divergence, needs.divergence, budget)
    return ReferenceCache.build(policy, encoded, needs, place, images=images, max_tokens=budget)


def _asked(encoded: Sequence[EncodedPair], branches: frozenset[Branch], kept: frozenset[Branch], budget: int) -> str:
    """The digest of all that is asked of a reference, and how it is packed.

    Arms that ask the same share one cache; an arm's last bits never depend on what another arm asked before it.
    """
    lines = [[pair.branches[name].key for name in sorted(branches & pair.branches.keys())] for pair in encoded]
    return digest([lines, sorted(map(str, branches)), sorted(map(str, kept)), budget])[:32]


def _trainer(
    task: Task, settings: Train, pairs: Sequence[PreferencePair], *, out: Path, seed: int, label: str
) -> tuple[PreferenceTrainer, Path | None]:
    resumed = last_complete(out)
    for torn in out.glob("checkpoint-*"):
        if torn != resumed:
            shutil.rmtree(torn)
    log = StepLog(out / "steps.jsonl", resumed_step=int(resumed.name.rsplit("-", 1)[1]) if resumed else 0)
    sampler = ImageSampler(image_groups(pairs), seed=seed, grouped=settings.group_by_image)
    trainer = PreferenceTrainer(
        task, sampler=sampler, args=_arguments(settings, out=out, seed=seed), callbacks=[log, Progress(label)]
    )
    if trainer.args.world_size > 1:
        raise ModelError(
            "training", given=f"{trainer.args.world_size} processes", expected="one", todo="launch a single process"
        )
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
            trainer.remove_callback(callback)
    log.trainer = trainer
    return trainer, resumed


def _arguments(settings: Train, *, out: Path, seed: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=settings.batch,
        num_train_epochs=settings.epochs,
        max_steps=settings.steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=SCHEDULERS[settings.scheduler],
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        logging_steps=1,
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=2,
        seed=derive_seed(seed, "training") % 2**32,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=[],
    )


class Progress(TrainerCallback):
    """Feeds the common progress display, one tick an optimiser step."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.ticks: Iterator[int] = iter(())

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        steps = range(state.global_step, state.max_steps)
        self.ticks = iter(track(steps, f"{self.label}: train", total=len(steps)))
        next(self.ticks, None)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        next(self.ticks, None)
