"""TRL's arms: ``DPOTrainer`` as installed, called as its training loop calls it, on the same pairs in the same order.

Batches come from TRL's own collator, made before the clock starts (workers could hide that work). A step with clean and
corrupt views is its DPO step on the clean batch plus its DPO step on the corrupt batch, one optimiser update for both:
TRL has no divergence and no span, so this is less work than the objective asks for, a floor for TRL.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlavaProcessor

from measure.model import lora, twin
from measure.ours import adapted, all_steps, optimiser_of
from measure.rounds import timed
from measure.workloads import Data, Workload
from medpref.models.policy import Policy

DEFAULT_BATCH = 8
"""``per_device_train_batch_size`` of transformers and TRL."""


@contextlib.contextmanager
def response_only() -> Iterator[None]:
    """TRL's head projects reply positions only, as it does on CUDA; nothing else is patched."""
    from trl.trainer import utils

    held = utils._use_triton
    utils._use_triton = lambda device: True
    try:
        yield
    finally:
        utils._use_triton = held


def processor_for(policy: Policy) -> LlavaProcessor:
    """The policy's image processor and tokenizer in the class that TRL asks for."""
    still = policy.processor
    return LlavaProcessor(
        image_processor=still.image_processor, tokenizer=still.tokenizer, chat_template=None, **still.fields
    )


@dataclass
class Theirs:
    """One arm. ``micro`` is the per-device batch in pairs, the rest of a step is accumulated."""

    policy: Policy
    workload: Workload
    data: Data
    checkpointing: bool = True
    own_head: bool = False
    micro: int = DEFAULT_BATCH

    def __post_init__(self) -> None:
        from datasets import Dataset
        from trl import DPOConfig, DPOTrainer

        self.policy = twin(self.policy)
        cuda = self.policy.base.device.type == "cuda"
        arguments: dict[str, Any] = {} if self.checkpointing else {"gradient_checkpointing": False}
        self.folder = tempfile.TemporaryDirectory(prefix="medpref-bench-")
        config = DPOConfig(
            output_dir=self.folder.name,
            per_device_train_batch_size=self.micro,
            beta=0.1,
            max_length=None,
            bf16=cuda and self.policy.base.dtype == torch.bfloat16,
            use_cpu=not cuda,
            report_to=[],
            disable_tqdm=True,
            **arguments,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.trainer = DPOTrainer(
                model=self.policy.base,
                args=config,
                train_dataset=Dataset.from_list(self._rows(0, "clean")[:1]),
                processing_class=processor_for(self.policy),
                peft_config=lora(self.policy),
            )
        start = dict(adapted(self.policy).model.named_parameters())
        for name, value in self.trainer.model.named_parameters():
            if value.requires_grad:
                value.data.copy_(start[name].data)
                if not self.checkpointing:  # tuned: adapters in the weights' dtype, as ours
                    value.data = value.data.to(self.policy.base.dtype)
        self.model = self._as_trained()
        self.optimiser = optimiser_of(self.trainer.model)
        self.batches = self._collate()

    def _as_trained(self) -> Any:
        """What ``Trainer.train`` does to the model before its first step: checkpointing on, autocast around it."""
        trainer = self.trainer
        if trainer.args.gradient_checkpointing:
            kwargs = dict(trainer.args.gradient_checkpointing_kwargs or {})
            enable = getattr(trainer.model, "activation_checkpointing_enable", None)
            (enable or trainer.model.gradient_checkpointing_enable)(kwargs or None)
        return trainer.accelerator.prepare_model(trainer.model)

    def _rows(self, step: int, view: str) -> list[dict[str, Any]]:
        number = {"clean": "image", "corrupt": "corrupt"}[view]
        return [
            {"images": [self.data.open(row[number])], **{key: row[key] for key in ("prompt", "chosen", "rejected")}}
            for row in self.data.texts[step]
        ]

    def _collate(self) -> list[list[tuple[float, dict[str, Any]]]]:
        """For each step its micro-batches, with the share of the step's loss that each carries."""
        steps = []
        for number in range(len(self.data.steps)):
            batches = []
            for view in self.workload.views:
                rows = self._rows(number, view)
                for start in range(0, len(rows), self.micro):
                    part = rows[start : start + self.micro]
                    batch = self.trainer.data_collator(part)
                    placed = {name: value.to(self.policy.base.device) for name, value in batch.items()}
                    batches.append((len(part) / len(rows), placed))
            steps.append(batches)
        return steps

    def gradients(self, step: int = 0) -> float:
        """The loss of one optimiser step, after its backward passes."""
        lost = 0.0
        with contextlib.nullcontext() if self.own_head else response_only():
            for share, batch in self.batches[step]:
                self.trainer.current_gradient_accumulation_steps = 1 / share
                lost += float(self.trainer.training_step(self.model, dict(batch)))
        return lost

    def step(self) -> float:
        """All optimiser steps of the workload; the last loss."""
        return all_steps(self.gradients, len(self.data.steps), self.trainer.model, self.optimiser)

    def close(self) -> None:
        self.folder.cleanup()


def tune(policy: Policy, workload: Workload, data: Data, *, most: int = 8) -> tuple[int, dict[int, float]]:
    """The micro-batch that TRL without checkpointing is fastest with, and seconds a pair for each one tried.

    Tried on the first pairs of the first step; the first try is made twice, so that no one pays for warming up.
    """
    few = Data((data.steps[0][:most],), (data.texts[0][:most],), data.images, data.root)
    size = len(few.steps[0])
    choices = [micro for micro in (1, 2, 4, 8) if micro <= size]
    seconds: dict[int, float] = {}
    for micro in choices:
        arm = Theirs(policy, workload, few, checkpointing=False, micro=micro)
        if not seconds:
            arm.gradients()
        seconds[micro] = timed(arm.gradients)[0] / size
        arm.close()
    return min(seconds, key=seconds.__getitem__), seconds
