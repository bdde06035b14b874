"""Controls: nothing changed, another patient's image, and the same corruption where the lesion is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from medpref import store
from medpref.errors import DataError
from medpref.imaging.corrupt import Parameters, mask_json, mask_of, reapply
from medpref.imaging.decode import Pixels, read_array
from medpref.imaging.regions import matched_background, region_array, region_of
from medpref.registry import CORRUPTIONS
from medpref.schema import Frozen, Region


@CORRUPTIONS.add
class Unchanged(Frozen):
    """The clean image again: a visual term then learns nothing about the image, only the shape of its loss."""

    kind: Literal["unchanged"] = "unchanged"

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        inside = region_array(regions, image.shape[0], image.shape[1])
        return {"kind": self.kind, "mask": mask_json(inside)}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        return image.copy()


@CORRUPTIONS.add
class SwapImage(Frozen):
    """Another image, as it is (its own size), drawn from ``pool``: paths, best absolute, of other patients' images.

    A recipe leaves the pool empty; who curates fills it with `bound`. The donor's path and hash are stored.
    """

    kind: Literal["swap_image"] = "swap_image"
    pool: tuple[str, ...] = ()

    def bound(self, paths: Iterable[str | Path]) -> SwapImage:
        """The same corruption with these images to draw from."""
        return SwapImage(pool=tuple(map(str, paths)))

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        for index in rng.permutation(len(self.pool)):
            path = Path(self.pool[index])
            if not np.array_equal(read_array(path), image):
                whole = mask_json(np.ones(image.shape[:2], dtype=bool))
                return {"kind": self.kind, "path": str(path), "sha256": store.file_digest(path), "mask": whole}
        given = f"a pool of {len(self.pool)} images, none of them another one"
        todo = "fill the pool with images of other patients (SwapImage.bound)"
        raise DataError(f"corruption {self.kind!r}", given=given, expected="at least one other image", todo=todo)

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        path = Path(parameters["path"])
        donor = read_array(path)
        if store.file_digest(path) != parameters["sha256"]:
            expected = f"content {parameters['sha256'][:12]}, as when it was drawn"
            raise DataError(str(path), given="another content", expected=expected, todo="restore the file")
        return donor


@CORRUPTIONS.add
class Background(Frozen):
    """The corruption ``of`` moved to an equal area that misses the lesion: destruction without loss of evidence.

    The area has the lesion's shape and lies among the share ``alike`` of all free places that are most like the
    lesion's in brightness (1: anywhere). See `regions.matched_background` for what happens where none fits.
    """

    kind: Literal["background"] = "background"
    of: Mapping[str, Any] = Field(default_factory=lambda: {"kind": "gaussian_noise"})
    alike: float = Field(default=0.25, gt=0, le=1)

    @model_validator(mode="after")
    def _movable(self) -> Self:
        CORRUPTIONS.parse(self.of, where="corruption 'background', of")
        if self.of.get("kind") in ("background", "crop", "swap_image", "unchanged"):
            raise ValueError(f"{self.of['kind']!r} has no area to move; choose a corruption of a region")
        return self

    def draw(self, image: Pixels, regions: Iterable[Region], rng: np.random.Generator) -> Parameters:
        lesion = mask_of(regions, image, kind=self.kind)
        moved = matched_background(lesion, rng, image=image, alike=self.alike)
        corruption = CORRUPTIONS.parse(self.of, where="corruption 'background', of")
        inner = corruption.draw(image, [region_of(moved, label="background", origin="matched_background")], rng)
        return {"kind": self.kind, "of": inner, "mask": inner["mask"]}

    def apply(self, image: Pixels, parameters: Mapping[str, Any]) -> Pixels:
        return reapply(image, parameters["of"])
