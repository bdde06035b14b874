"""The corrupt view of an example: located, drawn, applied, stored, and rebuilt from what a pair says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from medpref import store
from medpref.errors import DataError
from medpref.imaging.compare import compare_drawn
from medpref.imaging.corrupt import reapply
from medpref.imaging.decode import Pixels, encode_png, read_array
from medpref.registry import LOCALIZERS
from medpref.schema import Example, ImageRef, PreferencePair, Region
from medpref.seeds import generator


class View(NamedTuple):
    """The corrupt images (unlocated ones stay clean), the regions found, and the parameters by image index."""

    images: tuple[ImageRef, ...]
    regions: tuple[Region, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Views:
    """How a builder makes corrupt views: where it writes, what it locates with, what it corrupts with."""

    out: Path
    root: Path
    prefix: str
    localizer: Any
    corruption: Any
    pool: tuple[tuple[str, str], ...] = ()

    def make(self, example: Example, *, seed: int) -> View | str:
        """The corrupt view, or the reason why there is none. At least one image must have a region.

        What is drawn depends on the image and its regions, not on the question: questions that ask about the same
        place of one film share one corrupt view, and the engine then reads it once.
        """
        images = list(example.images)
        found: list[Region] = []
        drawn: dict[str, Any] = {}
        for index, ref in enumerate(example.images):
            array = _read(ref.locate(self.root))
            regions = self._locate(example, array, index)
            if not regions:
                continue
            rng = generator(seed, "corrupt", ref.sha256, store.digest([*regions]))
            try:
                parameters = self._bound(example, rng).draw(array, regions, rng)
            except DataError as error:
                return f"no corrupt view: {error.given}"
            corrupt = self.corruption.apply(array, parameters)
            change = compare_drawn(array, corrupt, parameters)._asdict()
            images[index] = self._store(corrupt)
            drawn[str(index)] = {**parameters, "change": change}
            found += regions
        if not drawn:
            return "no region was found"
        return View(tuple(images), tuple(found), drawn)

    def _locate(self, example: Example, array: Pixels, index: int) -> tuple[Region, ...]:
        localizer = self.localizer or LOCALIZERS.parse("whole_image", where="a corruption without a localizer")
        regions: tuple[Region, ...] = localizer.locate(example, array, index=index)
        return regions

    def _bound(self, example: Example, rng: Any) -> Any:
        """The corruption; one that draws from other images is given those of other patients."""
        if not hasattr(self.corruption, "bound") or self.corruption.pool:
            return self.corruption
        others = [path for patient, path in self.pool if patient != example.patient]
        picked = rng.choice(len(others), size=min(8, len(others)), replace=False) if others else []
        return self.corruption.bound(others[int(index)] for index in picked)

    def _store(self, corrupt: Pixels) -> ImageRef:
        data = encode_png(corrupt)
        name = store.put_blob(self.out, data, ".png")
        return ImageRef(path=f"{self.prefix}/{name}", sha256=store.digest(data))


@lru_cache(maxsize=16)
def _read(path: Path) -> Pixels:
    array = read_array(path)
    array.setflags(write=False)
    return array


def image_pool(examples: Sequence[Example], root: Path) -> tuple[tuple[str, str], ...]:
    """``(patient, path)`` of every distinct first image, in a fixed order."""
    return tuple(sorted({(example.patient, str(example.images[0].locate(root).resolve())) for example in examples}))


def rebuild(pair: PreferencePair, root: Path) -> dict[int, Pixels]:
    """The corrupt images of a pair by index, made again from its clean images and its provenance alone."""
    drawn = pair.provenance.get("corruption", {})
    return {int(index): reapply(_read(pair.views["clean"][int(index)].locate(root)), drawn[index]) for index in drawn}
