"""The vision side of a policy, computed as seldom as what is trained allows.

* Tower and projector frozen: features once per study, from memory or disk afterwards.
* Only the projector trained: the tower's output once per study; the projector runs each step.
* Tower trained, or adapters switched on in it: every distinct study once a step, in one call, with gradients.

Whatever is cached is computed under ``no_grad``, study by study, so that a hit equals recomputation bit for bit. It is
named by the weights that made it, which are looked at again whenever one was written to or replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from medpref.engine import counters
from medpref.engine.features import Budgeted, FeatureFiles, Study, config_text, tensors_digest
from medpref.models.policy import Policy
from medpref.store import digest

Pixels = Mapping[str, Tensor]
ADAPTERS = (BaseTunerLayer, AuxiliaryTrainingWrapper)


class Vision:
    """Features of studies; ``pixels`` gives a study's processed images, ``cache`` is a folder or None."""

    def __init__(
        self, policy: Policy, pixels: Callable[[Study], Pixels], *, cache: Path | None, memory_bytes: int
    ) -> None:
        self.policy, self._pixels = policy, pixels
        self._files = FeatureFiles(cache) if cache is not None else None
        self._held = Budgeted(memory_bytes)
        self._keys: dict[str, tuple[Any, str]] = {}
        self._splits: bool | None = None
        self._coming: dict[Study, Future[Tensor | None]] = {}
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="medpref-features")

    def ahead(self, studies: Iterable[Study]) -> None:
        """Begin to read features from disk in another thread, under the name they had last; on CUDA into pinned memory.

        What is not on disk, or meanwhile has another name, is found by :meth:`features` as if nothing had been read.
        """
        known = self._keys.get("features")
        if self._files is None or known is None:
            return
        pin = self.policy.base.device.type == "cuda"
        for name in dict.fromkeys((known[1], *study) for study in studies):
            if name not in self._coming and self._held.get(name) is None:
                self._coming[name] = self._reader.submit(_read, self._files, name, pin)

    def features(self, studies: Sequence[Study]) -> Tensor:
        """Features of some studies one after another, ``[image_token, width]``, on the policy's device."""
        device = self.policy.base.device
        tower, projector = (self._live(prefixes) for prefixes in self._sides())
        if not tower and not projector:
            return torch.cat([kept.to(device, non_blocking=True) for kept in self._kept(studies, "features")])
        if not tower and self._can_split(studies[0]):
            return self._project([kept.to(device) for kept in self._kept(studies, "towered")])
        return self._together(studies)

    def _sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.policy.family.towers, self.policy.family.projectors

    def _live(self, prefixes: tuple[str, ...]) -> bool:
        """Whether a side may not be cached: gradients are wanted of it, or adapters in it are switched on."""
        if any(not module.disable_adapters for module in self._adapters(prefixes).values()):
            return True
        return torch.is_grad_enabled() and self._trained(prefixes)

    def _trained(self, prefixes: tuple[str, ...]) -> bool:
        return any(value.requires_grad for value in self._weights(prefixes))

    def _adapters(self, prefixes: tuple[str, ...]) -> dict[str, Any]:
        inside = tuple(prefix.rstrip(".") for prefix in prefixes)
        named = self.policy.base.named_modules()
        return {name: part for name, part in named if isinstance(part, ADAPTERS) and name.startswith(inside)}

    def _weights(self, prefixes: tuple[str, ...]) -> list[Tensor]:
        """The weights of a side, its adapters' own left out."""
        adapters = self._adapters(prefixes)
        skipped = tuple(f"{name}.{part}." for name, module in adapters.items() for part in module.adapter_layer_names)
        skipped += tuple(f"{name}.modules_to_save." for name in adapters)
        named = self.policy.base.named_parameters()
        return [value for name, value in named if name.startswith(prefixes) and not name.startswith(skipped or ("\0",))]

    def _key(self, kind: str) -> str:
        """The hash of all that makes features, or the tower's output."""
        tower, projector = self._sides()
        weights = self._weights(tower if kind == "towered" else (*tower, *projector))
        stamp = tuple((value.data_ptr(), value._version, value.dtype) for value in weights)
        if kind not in self._keys or self._keys[kind][0] != stamp:
            policy = self.policy
            made_of = [kind, tensors_digest(weights), config_text(policy.base.config), policy.processor_hash()]
            self._keys[kind] = (stamp, digest(made_of))
        return self._keys[kind][1]

    def _kept(self, studies: Sequence[Study], kind: str) -> list[Tensor]:
        """``features``, or what the projector reads (``towered``), of each study."""
        key = self._key(kind)
        return [self._once(study, kind, key) for study in studies]

    def _once(self, study: Study, kind: str, key: str) -> Tensor:
        """From memory, from disk, or computed."""
        held = self._held.get((key, *study))
        if held is None:
            coming = self._coming.pop((key, *study), None)
            if coming is not None:
                found = coming.result()
            else:
                found = self._files.read(key, study) if self._files is not None else None
            if found is None:
                found = self._compute(study, kind).cpu()
                tower, projector = self._sides()
                lasting = not self._trained(tower if kind == "towered" else (*tower, *projector))
                if self._files is not None and lasting:
                    self._files.write(key, study, found)
            held = {kind: found}
            self._held.put((key, *study), held)
        return held[kind]

    def _compute(self, study: Study, kind: str) -> Tensor:
        with torch.no_grad():
            if kind == "features":
                return self._encode(self._pixels(study), 1)
            given = self._watch(study)[1]
        assert given is not None
        return given

    def _project(self, towered: Sequence[Tensor]) -> Tensor:
        projector = self._projector()
        assert projector is not None
        alike = len({given.shape[1:] for given in towered}) == 1
        outs = [projector(torch.cat(list(towered)))] if alike else [projector(given) for given in towered]
        return torch.cat([out.reshape(-1, out.shape[-1]) for out in outs])

    def _can_split(self, study: Study) -> bool:
        """Whether features are just the projector's output: tried on one study, bit for bit."""
        if self._splits is None:
            with torch.no_grad():
                features, given = self._watch(study)
                self._splits = given is not None and torch.equal(self._project([given]), features)
        return self._splits

    def _watch(self, study: Study) -> tuple[Tensor, Tensor | None]:
        """Features, and the one tensor that the projector was called with on the way."""
        projector = self._projector()
        seen: list[Any] = []
        if projector is None:
            return self._encode(self._pixels(study), 1), None
        handle = projector.register_forward_pre_hook(lambda _, given: seen.append(given))
        try:
            features = self._encode(self._pixels(study), 1)
        finally:
            handle.remove()
        once = len(seen) == 1 and len(seen[0]) == 1 and isinstance(seen[0][0], Tensor) and seen[0][0].ndim > 1
        return features, seen[0][0] if once else None

    def _projector(self) -> nn.Module | None:
        names = self._sides()[1]
        modules = dict(self.policy.base.named_modules())
        return modules.get(names[0].rstrip(".")) if len(names) == 1 else None

    def _together(self, studies: Sequence[Study]) -> Tensor:
        pixels = [self._pixels(study) for study in studies]
        stacked = {name: torch.cat([one[name] for one in pixels]) for name in pixels[0]}
        return self._encode(stacked, len(studies))

    def _encode(self, pixels: Pixels, studies: int) -> Tensor:
        counters.add(tower_calls=1, tower_studies=studies)
        base = self.policy.base
        placed = {name: value.to(base.device) for name, value in pixels.items()}
        cast = {name: value.to(base.dtype) if value.is_floating_point() else value for name, value in placed.items()}
        return self.policy.family.features(base, cast)


def _read(files: FeatureFiles, name: Study, pin: bool) -> Tensor | None:
    """The features under a name (key, then study), in memory: its pages have been touched."""
    found = files.read(name[0], name[1:])
    if found is None:
        return None
    return found.pin_memory() if pin else found.clone()
