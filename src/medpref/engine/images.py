"""Each distinct image decoded, processed and (while the vision tower is frozen) encoded once.

A study is the tuple of its images' content hashes. Pixels and features are kept in memory up to a budget; features
also on disk, one memory-mapped file a study, named by what made them: tower and projector weights, processor
configuration, dtype, image content. Change one of these and the name differs, so a stale entry cannot be read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from medpref.engine import counters
from medpref.engine.features import FeatureFiles, tensors_digest
from medpref.errors import DataError
from medpref.imaging.decode import read_image
from medpref.models.policy import Policy
from medpref.schema import ImageRef
from medpref.store import digest, file_digest

Study = tuple[str, ...]
Positions = tuple[tuple[int, ...], ...]


class Budgeted:
    """Tensors by study, the least recently used dropped when they exceed ``limit_bytes`` (the newest always stays)."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.held_bytes = limit_bytes, 0
        self._held: OrderedDict[Study, dict[str, Tensor]] = OrderedDict()

    def get(self, study: Study) -> dict[str, Tensor] | None:
        if study in self._held:
            self._held.move_to_end(study)
        return self._held.get(study)

    def put(self, study: Study, tensors: dict[str, Tensor]) -> None:
        self._held[study] = tensors
        self.held_bytes += _bytes(tensors)
        while self.held_bytes > self.limit_bytes and len(self._held) > 1:
            self.held_bytes -= _bytes(self._held.popitem(last=False)[1])

    def clear(self) -> None:
        self._held.clear()
        self.held_bytes = 0


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(value.numel() * value.element_size() for value in tensors.values())


class ImageStore:
    """The images of a data set, as a policy sees them. ``cache`` is a folder for features, None for memory only."""

    def __init__(
        self,
        policy: Policy,
        *,
        cache: Path | None = None,
        memory_bytes: int = 2 << 30,
        read: Callable[[Path], Image] = read_image,
    ) -> None:
        self.policy, self._read = policy, read
        self._files = FeatureFiles(cache) if cache is not None else None
        self._where: dict[str, Path] = {}
        self._pixels, self._features = Budgeted(memory_bytes), Budgeted(memory_bytes)
        self._prompts: dict[tuple[Study, str], tuple[tuple[int, ...], Positions | None]] = {}
        self._key: tuple[Any, str] | None = None

    def add(self, images: Sequence[ImageRef], root: Path) -> Study:
        """The study of some images, whose places are remembered; nothing is decoded yet."""
        for image in images:
            self._where.setdefault(image.sha256, image.locate(root))
        return tuple(image.sha256 for image in images)

    def pixels(self, study: Study) -> dict[str, Tensor]:
        """The processor's tensors of one study; DataError where a file's bytes are not those that were named."""
        held = self._pixels.get(study)
        if held is None:
            held = dict(self.policy.pixels([self._decode(sha) for sha in study]))
            self._pixels.put(study, held)
        return held

    def _decode(self, sha: str) -> Image:
        path = self._where[sha]
        image = self._read(path)
        found = file_digest(path)
        if found != sha:
            raise DataError(
                str(path),
                given=f"bytes with sha256 {found[:12]}...",
                expected=f"{sha[:12]}..., as the pair says",
                todo="curate again, or restore the image",
            )
        counters.add(images_decoded=1)
        return image

    def prompt(self, study: Study, question: str) -> tuple[tuple[int, ...], Positions | None]:
        """Prompt tokens with image placeholders expanded, and their positions where the family has several axes."""
        key = (study, question)
        if key not in self._prompts:
            policy, pixels = self.policy, self.pixels(study)
            ids = policy.prompt_ids(question, pixels)
            axes = policy.family.positions(policy.base, ids, pixels)
            positions = tuple(tuple(axis) for axis in axes.tolist()) if len(axes) > 1 else None
            self._prompts[key] = (tuple(ids), positions)
        return self._prompts[key]

    def features(self, studies: Sequence[Study], sizes: Sequence[int]) -> Tensor:
        """Image features of some studies one after another, ``[sum(sizes), width]``; ``sizes`` are image tokens.

        With a frozen tower and projector each study comes from the cache; otherwise all go through the tower in one
        call, with gradients. A study is one tower call when it is cached, so that a hit equals it bit for bit.
        """
        if not studies:
            return torch.empty(0)
        if torch.is_grad_enabled() and self._trained():
            return self._encode_together(studies, sizes)
        key = self._tower_key()
        found = [self._cached(study, key) for study in studies]
        for study, size, features in zip(studies, sizes, found, strict=True):
            _check_size(study, size, len(features))
        return torch.cat([features.to(self._device()) for features in found])

    def _trained(self) -> bool:
        return any(parameter.requires_grad for parameter in self._vision_parameters())

    def _vision_parameters(self) -> list[torch.nn.Parameter]:
        family, base = self.policy.family, self.policy.base
        return [*family.tower_parameters(base), *family.projector_parameters(base)]

    def _device(self) -> torch.device:
        return self.policy.base.device

    def _tower_key(self) -> str:
        """The hash of all that makes features; found again when a weight was written to or replaced."""
        parameters = self._vision_parameters()
        stamp = tuple((parameter.data_ptr(), parameter._version) for parameter in parameters)
        if self._key is None or self._key[0] != stamp:
            self._key = (stamp, digest([tensors_digest(parameters), self.policy.processor_hash()]))
            self._features.clear()
        return self._key[1]

    def _cached(self, study: Study, key: str) -> Tensor:
        held = self._features.get(study)
        if held is None:
            features = self._files.read(key, study) if self._files is not None else None
            if features is None:
                with torch.no_grad():
                    features = self._encode(self.pixels(study), 1).cpu()
                if self._files is not None:
                    self._files.write(key, study, features)
            held = {"features": features}
            self._features.put(study, held)
        return held["features"]

    def _encode_together(self, studies: Sequence[Study], sizes: Sequence[int]) -> Tensor:
        pixels = [self.pixels(study) for study in studies]
        stacked = {name: torch.cat([one[name] for one in pixels]) for name in pixels[0]}
        features = self._encode(stacked, len(studies))
        _check_size(studies[0], sum(sizes), len(features))
        return features

    def _encode(self, pixels: Mapping[str, Tensor], studies: int) -> Tensor:
        counters.add(tower_calls=1, tower_studies=studies)
        base = self.policy.base
        placed = {name: value.to(base.device) for name, value in pixels.items()}
        cast = {name: value.to(base.dtype) if value.is_floating_point() else value for name, value in placed.items()}
        return self.policy.family.features(base, cast)


def _check_size(study: Study, size: int, found: int) -> None:
    if size != found:
        raise DataError(
            f"study {study[0][:12]}...",
            given=f"{found} image features",
            expected=f"{size}, the image tokens of the prompt",
            todo="check that processor and model belong together",
        )
