"""What the reference says of a reply: live with the adapters off, or from a cache on disk.

The cache holds, for each distinct (images, prompt, reply), the reference's log-probabilities and, where an objective
reads divergences, its final hidden states at the reply positions; with these and the head the whole distribution is
exact. It is keyed by the policy's weights, so that another policy cannot read it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from medpref.engine import counters
from medpref.engine.edges import find_edges
from medpref.engine.encode import EncodedBranch, EncodedPair
from medpref.engine.features import config_text, tensors_digest
from medpref.engine.forward import as_reference, head_weight, hidden_states, plan_for
from medpref.engine.head import Ask, read_head
from medpref.engine.images import ImageStore
from medpref.engine.layout import Plan
from medpref.engine.pack import pack
from medpref.errors import ArtifactError
from medpref.models.policy import Policy
from medpref.objectives.scores import Needs
from medpref.progress import track
from medpref.store import digest


@dataclass(frozen=True)
class ReferenceLine:
    """The reference's ``log_probs`` of one reply, ``[token]`` nats; ``hidden`` ``[token, width]`` where asked for."""

    log_probs: Tensor
    hidden: Tensor | None = None


def read_reference(policy: Policy, plan: Plan, images: ImageStore, *, keep: Sequence[bool]) -> list[ReferenceLine]:
    """The policy as it stands, without gradients, over a plan's lines; hidden states where ``keep`` says so."""
    edges = find_edges(plan)
    device = policy.base.device
    with torch.no_grad():
        hidden = hidden_states(policy, plan, images, edges.slot)
        ask = Ask(torch.as_tensor(edges.row, device=device), torch.as_tensor(edges.token, device=device))
        log_prob = read_head(hidden, head_weight(policy), ask).log_prob
    counters.add(reference_tokens=plan.forest.nodes)
    lines = []
    for of_line, rows, wanted in zip(edges.of_line, edges.rows_of_line, keep, strict=True):
        kept = hidden[torch.as_tensor(rows, device=device)] if wanted else None
        lines.append(ReferenceLine(log_prob[torch.as_tensor(of_line, device=device)], kept))
    return lines


def read_online(policy: Policy, plan: Plan, images: ImageStore, *, keep: Sequence[bool]) -> list[ReferenceLine]:
    """The reference live: the adapters switched off."""
    with as_reference(policy):
        return read_reference(policy, plan, images, keep=keep)


class ReferenceCache:
    """Read with :meth:`lines`; made by :meth:`build`, or by :meth:`open` where it was built before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, Path] = {}
        self._loaded: dict[Path, dict[str, Tensor]] = {}
        for path in sorted(folder.glob("chunk-*.safetensors")):
            self._index(path)
        head = folder / "head.safetensors"
        self.head_weight: Tensor | None = _load(head)["weight"] if head.exists() else None

    @classmethod
    def build(
        cls,
        policy: Policy,
        pairs: Sequence[EncodedPair],
        needs: Needs,
        path: Path,
        *,
        images: ImageStore,
        max_tokens: int = 8192,
        backend: str = "auto",
    ) -> ReferenceCache:
        """The cache of ``pairs`` under ``path``; what an earlier (killed) build wrote is kept.

        The reference is the policy with its adapters off, or as it stands if it has none, so build before step 1.
        """
        folder = Path(path) / reference_key(policy)[:32]
        folder.mkdir(parents=True, exist_ok=True)
        cache = cls(folder)
        head = head_weight(policy)
        if needs.divergence and head.requires_grad and cache.head_weight is None:
            _save(folder / "head.safetensors", {"weight": head.detach().cpu()})
            cache.head_weight = head.detach().cpu().clone()
        reduced = Needs(branches=needs.reference | needs.divergence, divergence=needs.divergence)
        missing = [pair for pair in pairs if not cache._holds(pair, reduced)]
        groups = pack(missing, reduced, max_tokens)
        for group in track(groups, "reference", total=len(groups)) if groups else ():
            cache._add([missing[index] for index in group], policy, reduced, images=images, backend=backend)
        return cache

    def lines(self, wanted: Sequence[EncodedBranch], keep: Sequence[bool]) -> list[ReferenceLine]:
        """What the reference said of each branch; ArtifactError where it was never asked."""
        return [self._line(branch, hidden) for branch, hidden in zip(wanted, keep, strict=True)]

    def _line(self, branch: EncodedBranch, hidden: bool) -> ReferenceLine:
        names = [f"{branch.key}/log_probs", *([f"{branch.key}/hidden"] if hidden else [])]
        missing = next((name for name in names if name not in self._places), None)
        if missing is not None:
            raise ArtifactError(
                f"reference cache {self.folder}",
                given=f"no {missing.partition('/')[2]} of branch {branch.view}/{branch.reply} ({branch.key[:12]}...)",
                expected="every branch that the objective reads",
                todo="build the cache again with these pairs and this objective",
            )
        values = [self._tensors(self._places[name])[name] for name in names]
        return ReferenceLine(values[0], values[1] if hidden else None)

    def _holds(self, pair: EncodedPair, needs: Needs) -> bool:
        keys = [f"{pair.branches[name].key}/log_probs" for name in needs.branches if name in pair.branches]
        keys += [f"{pair.branches[name].key}/hidden" for name in needs.divergence if name in pair.branches]
        return all(key in self._places for key in keys)

    def _add(
        self, pairs: Sequence[EncodedPair], policy: Policy, needs: Needs, *, images: ImageStore, backend: str
    ) -> None:
        keep: dict[str, bool] = {}
        lines: dict[str, EncodedBranch] = {}
        for pair in pairs:
            for name in sorted(needs.branches & pair.branches.keys()):
                line = pair.branches[name]
                lines[line.key] = line
                keep[line.key] = keep.get(line.key, False) or name in needs.divergence
        plan = plan_for(policy, list(lines.values()), backend)
        read = read_online if hasattr(policy.model, "disable_adapter") else read_reference
        found = read(policy, plan, images, keep=list(keep.values()))
        tensors: dict[str, Tensor] = {}
        for key, said in zip(lines, found, strict=True):
            tensors[f"{key}/log_probs"] = said.log_probs.cpu().contiguous()
            if said.hidden is not None:
                tensors[f"{key}/hidden"] = said.hidden.cpu().contiguous()
        path = self.folder / f"chunk-{len(list(self.folder.glob('chunk-*.safetensors'))):05d}.safetensors"
        _save(path, tensors)
        self._index(path)

    def _index(self, path: Path) -> None:
        with safe_open(str(path), framework="pt") as file:
            self._places.update(dict.fromkeys(file.keys(), path))

    def _tensors(self, path: Path) -> dict[str, Tensor]:
        if path not in self._loaded:
            self._loaded[path] = _load(path)
        return self._loaded[path]


def reference_key(policy: Policy) -> str:
    """The hash of the reference: the policy's weights and configurations, adapters left out."""
    skipped: set[str] = set()
    for name, module in policy.model.named_modules():
        if isinstance(module, BaseTunerLayer):
            skipped.update(f"{name}.{part}." for part in module.adapter_layer_names)
    kept = [
        (name, value)
        for name, value in policy.model.named_parameters()
        if not name.startswith(tuple(skipped)) and ".modules_to_save." not in name
    ]
    weights = tensors_digest(value for _, value in kept)
    return digest([weights, config_text(policy.base.config), policy.processor_hash()])


def _load(path: Path) -> dict[str, Tensor]:
    with safe_open(str(path), framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    save_file(tensors, str(scratch))
    scratch.replace(path)
