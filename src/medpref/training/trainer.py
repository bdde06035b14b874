"""One trainer for SFT and preferences: transformers' ``Trainer`` with our sampler, our loss and our micro-steps.

A batch is a list of encoded pairs. It is packed into forests within a node budget; each forest's loss is the sum over
its pairs divided by the number of pairs of the whole batch, so the gradient does not depend on the packing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import Trainer

from medpref.engine.encode import EncodedPair
from medpref.engine.images import ImageStore
from medpref.engine.pack import pack
from medpref.engine.score import Reference, score
from medpref.models.policy import Policy, save_policy
from medpref.objectives.objective import Objective
from medpref.objectives.rewards import rewards
from medpref.objectives.scores import Totals
from medpref.training.sampler import ImageSampler


@dataclass(frozen=True)
class Task:
    """What is learnt from what: the pairs in their encoded form, the objective, and where the reference comes from."""

    policy: Policy
    objective: Objective
    pairs: Sequence[EncodedPair]
    images: ImageStore
    reference: Reference
    max_tokens: int


class PairDataset(Dataset[EncodedPair]):
    """Encoded pairs by index."""

    def __init__(self, pairs: Sequence[EncodedPair]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> EncodedPair:
        return self.pairs[index]


class PreferenceTrainer(Trainer):  # the one class we subclass
    """Overrides the sampler, the training step and how a checkpoint's model is written, nothing else."""

    def __init__(self, task: Task, *, sampler: ImageSampler, **kwargs: Any) -> None:
        self.task, self.sampler = task, sampler
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)
        self.began = time.perf_counter()
        super().__init__(
            model=task.policy.model, train_dataset=PairDataset(task.pairs), data_collator=self._collate, **kwargs
        )

    def _collate(self, pairs: list[EncodedPair]) -> Any:
        """A batch stays a list of pairs. It is asked for one step ahead: its features are read meanwhile."""
        branches = self.task.objective.needs.branches
        self.task.images.ahead(
            line.images for pair in pairs for branch, line in pair.branches.items() if branch in branches
        )
        return pairs

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self.sampler

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """The batch's loss (detached), after one backward pass per forest."""
        model.train()
        loss = torch.zeros((), device=self.args.device)
        for total, parts in micro_losses(self.task, inputs):
            self.accelerator.backward(total)
            loss += total.detach()
            self._remember(parts)
        return loss

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write adapters as PEFT does, whole weights under the module's own names.

        The hub's layout renames weights, and the parent's resume reads no other names than the module's.
        """
        folder = Path(output_dir or str(self.args.output_dir))
        if isinstance(self.model, PeftModel):
            save_policy(self.task.policy, folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            save_model(self.task.policy.model, str(folder / "model.safetensors"))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if isinstance(self.model, PeftModel):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_model(self.task.policy.model, Path(resume_from_checkpoint) / "model.safetensors")

    def _remember(self, parts: dict[str, Tensor]) -> None:
        for name, values in parts.items():
            known = values[~values.isnan()]
            self.sums[name] += float(known.sum())
            self.counts[name] += known.numel()

    def take_means(self) -> dict[str, float]:
        """Means over pairs of what was logged since the last call: loss parts, rewards, log-probabilities."""
        means = {name: self.sums[name] / self.counts[name] for name in sorted(self.sums) if self.counts[name]}
        self.sums.clear()
        self.counts.clear()
        return means


def micro_losses(task: Task, pairs: Sequence[EncodedPair]) -> Any:
    """Yield ``(loss, values to log per pair)`` for each forest of a batch; the losses sum to the batch's loss."""
    needs = task.objective.needs
    totals = count(pairs, needs.branches)
    whole = task.objective.batchwise
    packs = [range(len(pairs))] if whole else pack(pairs, needs, task.max_tokens)
    for indices in packs:
        chosen = [pairs[index] for index in indices]
        scores = score(task.policy, chosen, needs, images=task.images, reference=task.reference)
        weights = torch.tensor([pair.weight for pair in chosen], device=task.policy.base.device)
        loss = task.objective(scores, weights, totals)
        logged = {f"terms/{name}": values.detach() for name, values in loss.parts.items()}
        logged |= rewards(task.objective, scores)
        yield loss.per_pair.sum() / totals.pairs, logged


def count(pairs: Sequence[EncodedPair], branches: Any) -> Totals:
    """Pairs, and reply tokens per branch, of a whole batch."""
    tokens = {
        branch: sum(len(pair.branches[branch].reply_ids) for pair in pairs if branch in pair.branches)
        for branch in branches
    }
    return Totals(pairs=len(pairs), tokens=tokens)
