"""Our arms: the trainer's own step (``micro_losses``), with caches warm, cold, or the reference live."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import get_peft_model

from measure.model import lora, twin
from measure.workloads import Data, Workload
from medpref.engine.encode import EncodedPair
from medpref.engine.images import ImageStore
from medpref.engine.lora import fuse_lora
from medpref.engine.pack import pack
from medpref.engine.reference import ReferenceCache
from medpref.engine.score import Reference, score
from medpref.models.policy import Policy
from medpref.objectives.objective import Objective
from medpref.training.planner import checkpoint_layers
from medpref.training.trainer import count

LEARNING_RATE = 1e-4


def adapted(policy: Policy, *, seed: int = 1, fused: bool = False) -> Policy:
    """A twin of the policy with its adapter, the same for every arm, in the weights' own dtype; ours is fused."""
    mine = twin(policy)
    torch.manual_seed(seed)
    model = get_peft_model(mine.base, lora(mine), autocast_adapter_dtype=False)
    if fused:
        fuse_lora(model)
    return Policy(model, mine.processor, mine.family, mine.spec)


def optimiser_of(model: torch.nn.Module) -> torch.optim.Optimizer:
    """AdamW on what is trained, the same for every arm."""
    return torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=LEARNING_RATE)


def finish(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Clip, step and clear, the same for every arm."""
    torch.nn.utils.clip_grad_norm_([value for value in model.parameters() if value.requires_grad], 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def all_steps(
    gradients: Callable[[int], float], steps: int, model: torch.nn.Module, optimiser: torch.optim.Optimizer
) -> float:
    """Every optimiser step, the same for every arm; the last loss."""
    lost = 0.0
    for number in range(steps):
        lost = gradients(number)
        finish(model, optimiser)
    return lost


@dataclass
class Ours:
    """One arm. ``backend`` is an attention back end; ``online`` reads the reference live in every step;
    ``layered`` runs each layer again in backward, as TRL does by default; where a ``donor`` is given, its reference
    cache is read (hashing a large model's weights again takes long).
    """

    policy: Policy
    workload: Workload
    data: Data
    backend: str = "auto"
    online: bool = False
    layered: bool = False
    max_tokens: int = 16384
    donor: Ours | None = None
    objective: Objective = field(init=False)

    def __post_init__(self) -> None:
        self.policy = adapted(self.policy, fused=True)
        if self.layered:
            checkpoint_layers(self.policy)
        self.objective = self.workload.objective
        self.optimiser = optimiser_of(self.policy.model)
        self.folder = Path(tempfile.mkdtemp(prefix="medpref-bench-"))
        self.images: ImageStore | None = None
        self.reference: Reference = None

    def open_caches(self) -> None:
        """Build the feature and reference caches of all pairs, from nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.images = ImageStore(self.policy, cache=self.folder / "features")
        self.images.add(self.data.images, self.data.root)
        pairs = [pair for step in self.data.steps for pair in step]
        self.policy.model.eval()
        if self.online:
            self._encode_images(pairs)
            self.reference = "online"
        elif self.donor is not None and isinstance(self.donor.reference, ReferenceCache):
            self._encode_images(pairs)
            self.reference = ReferenceCache(self.donor.reference.folder)
        else:
            self.reference = ReferenceCache.build(
                self.policy,
                pairs,
                self.objective.needs,
                self.folder / "reference",
                images=self.images,
                max_tokens=self.max_tokens,
                backend=self.backend,
            )

    def _encode_images(self, pairs: Sequence[EncodedPair]) -> None:
        assert self.images is not None
        lines = {branch.images: branch for pair in pairs for branch in pair.branches.values()}
        token = self.policy.family.image_token_id(self.policy.base)
        self.images.features(list(lines), [line.prompt.count(token) for line in lines.values()])

    def cache_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def gradients(self, step: int = 0) -> float:
        """The loss of one optimiser step, after its backward passes."""
        assert self.images is not None
        pairs, needs, lost = self.data.steps[step], self.objective.needs, 0.0
        self.policy.model.train()
        totals = count(pairs, needs.branches)
        for indices in pack(pairs, needs, self.max_tokens):
            chosen = [pairs[index] for index in indices]
            scores = score(
                self.policy, chosen, needs, images=self.images, reference=self.reference, backend=self.backend
            )
            weights = torch.ones(len(chosen), device=self.policy.base.device)
            loss = self.objective(scores, weights, totals).per_pair.sum() / totals.pairs
            loss.backward()
            lost += float(loss.detach())
        return lost

    def step(self) -> float:
        """All optimiser steps of the workload; the last loss."""
        return all_steps(self.gradients, len(self.data.steps), self.policy.model, self.optimiser)

    def cold(self) -> float:
        """A first epoch: the caches are built, then the steps are made."""
        self.open_caches()
        return self.step()

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
