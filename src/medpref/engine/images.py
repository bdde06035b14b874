"""Each distinct image decoded and processed once; features through ``vision.py``.

A study is the tuple of its images' content hashes. Pixels are kept in memory up to a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from medpref.engine import counters
from medpref.engine.features import Budgeted, Study
from medpref.engine.vision import Vision
from medpref.errors import DataError
from medpref.imaging.decode import read_image
from medpref.models.policy import Policy
from medpref.schema import ImageRef
from medpref.store import file_digest

Positions = tuple[tuple[int, ...], ...]


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
        self._where: dict[str, Path] = {}
        self._pixels = Budgeted(memory_bytes)
        self._vision = Vision(policy, self.pixels, cache=cache, memory_bytes=memory_bytes)
        self._prompts: dict[tuple[Study, str], tuple[tuple[int, ...], Positions | None]] = {}

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

    def ahead(self, studies: Iterable[Study]) -> None:
        """Begin to read what the next step needs; :meth:`features` waits for it, and says what went wrong."""
        self._vision.ahead(studies)

    def features(self, studies: Sequence[Study], sizes: Sequence[int]) -> Tensor:
        """Image features of some studies one after another, ``[sum(sizes), width]``; ``sizes`` are image tokens."""
        if not studies:
            return torch.empty(0)
        features = self._vision.features(studies)
        if len(features) != sum(sizes):
            raise DataError(
                f"study {studies[0][0][:12]}..." if len(studies) == 1 else f"{len(studies)} studies",
                given=f"{len(features)} image features",
                expected=f"{sum(sizes)}, the image tokens of the prompts",
                todo="check that processor and model belong together",
            )
        return features
