"""The images a probe shows instead of the clean one: lesion hidden, background hidden, grey, another patient's.

The lesion and the background are hidden by the same corruption over areas of the same size; only the place differs.
Inpainting is the default: a flat fill looks like a lesion itself, and would count a careful reader's doubt as a flip.
Images that are equal are one file, so questions about one study share them.

Knows: images, regions, corruptions. Does not know: models or answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medpref.errors import DataError
from medpref.imaging.decode import encode_png, read_array
from medpref.imaging.regions import dilate, matched_background, region_array, region_of
from medpref.registry import CORRUPTIONS
from medpref.schema import CLEAN, Example, ImageRef
from medpref.seeds import generator
from medpref.store import digest, file_digest, write_bytes

LESION, BACKGROUND = "lesion_hidden", "background_hidden"
COUNTERFACTUAL, BLIND, WRONG = "counterfactual", "blind", "wrong"
Views = dict[str, tuple[ImageRef, ...]]
Pixels = NDArray[np.uint8]
HIDE: Mapping[str, Any] = {"kind": "inpaint"}
MARGIN_PX = 2
GREY = 128
ALIKE = 0.25
MADE = 1


class ProbeImages:
    """Writes the probe's images under ``folder`` and says where they are; ``root`` is where examples' paths start.

    An image is named by what it shows and how it was made, so that all models of a run are shown the same files.
    """

    def __init__(self, folder: Path, *, root: Path, seed: int, hide: Mapping[str, Any] = HIDE) -> None:
        self.folder, self.root, self.seed = Path(folder), Path(root), seed
        self._hide = CORRUPTIONS.parse(hide, where="probe, hide")
        self._made: dict[tuple[str, ...], ImageRef | None] = {}

    def views(self, example: Example, wrong: tuple[ImageRef, ...] | None) -> Views:
        """Every view that can be made of the example's images; a view that cannot be made is absent."""
        found: Views = {CLEAN: example.images, BLIND: tuple(self._grey(image) for image in example.images)}
        if wrong is not None:
            found[WRONG] = wrong
        if example.counterfactual:
            found[COUNTERFACTUAL] = example.counterfactual
        hidden = [self._hidden(example, index) for index in range(len(example.images))]
        if any(pair is not None for pair in hidden):
            for view, place in ((LESION, 0), (BACKGROUND, 1)):
                found[view] = tuple(
                    image if pair is None else pair[place] for image, pair in zip(example.images, hidden, strict=True)
                )
        return found

    def _grey(self, image: ImageRef) -> ImageRef:
        return self._once(("grey", image.sha256), lambda: np.full_like(self._read(image), GREY))

    def _hidden(self, example: Example, index: int) -> tuple[ImageRef, ImageRef] | None:
        """Lesion hidden and background hidden of one image; None without a region or where no background is left."""
        image = example.images[index]
        regions = [region for region in example.regions if region.image == index]
        if not regions:
            return None
        pixels = self._read(image)
        inside = dilate(region_array(regions, *pixels.shape[:2]), MARGIN_PX)
        name = f"{image.sha256}/{digest(inside.tobytes())}"
        try:
            background = self._once(
                ("background", name), lambda: self._cover(pixels, self._elsewhere(pixels, inside, name), name)
            )
        except DataError:
            return None
        return self._once(("lesion", name), lambda: self._cover(pixels, inside, name)), background

    def _elsewhere(self, pixels: Pixels, inside: NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
        rng = generator(self.seed, "probe background", name)
        return matched_background(inside, rng, image=pixels, alike=ALIKE)

    def _cover(self, pixels: Pixels, inside: NDArray[np.bool_], name: str) -> Pixels:
        rng = generator(self.seed, "probe hide", name)
        parameters = self._hide.draw(pixels, (region_of(inside),), rng)
        covered: Pixels = self._hide.apply(pixels, parameters)
        return covered

    def _once(self, key: tuple[str, ...], make: Callable[[], Pixels]) -> ImageRef:
        held = self._made.get(key)
        if held is None:
            path = self.folder / f"{digest([MADE, self.seed, self._hide, *key])}.png"
            if not path.exists():
                write_bytes(path, encode_png(make()))
            held = ImageRef(path=str(path.resolve()), sha256=file_digest(path))
            self._made[key] = held
        return held

    def _read(self, image: ImageRef) -> Pixels:
        return read_array(image.locate(self.root))


def wrong_images(examples: Sequence[Example], *, seed: int) -> dict[str, tuple[ImageRef, ...]]:
    """For each example id the images of another patient's example, of the same kind and number where there is one.

    Patients stand in a seeded ring and each is shown the next one's; an example that no other patient can serve is
    not in the result. All questions of a kind about one study get the same wrong study.
    """
    patients = sorted({example.patient for example in examples})
    generator(seed, "probe wrong image").shuffle(patients)
    place = {patient: index for index, patient in enumerate(patients)}
    by_patient: dict[str, list[Example]] = {patient: [] for patient in patients}
    for example in examples:
        by_patient[example.patient].append(example)
    found = {}
    for example in examples:
        start = place[example.patient]
        others = (by_patient[patients[(start + step) % len(patients)]] for step in range(1, len(patients)))
        images = next((taken for other in others if (taken := _taken(example, other)) is not None), None)
        if images is not None:
            found[example.id] = images
    return found


def _taken(example: Example, others: Sequence[Example]) -> tuple[ImageRef, ...] | None:
    """Images of another patient that could stand in for the example's, or None."""
    fit = [other for other in others if len(other.images) == len(example.images)]
    alike = [other for other in fit if other.kind == example.kind] or fit
    own = {image.sha256 for image in example.images}
    return next((other.images for other in alike if not own & {image.sha256 for image in other.images}), None)
