"""Regions that a text-prompted detector or segmenter finds for what the answer speaks of.

Does not know: whether the model is right; its score is the region's confidence. torch is loaded with the first image.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from medpref.curation.concept import concept_phrase
from medpref.imaging.decode import Pixels
from medpref.imaging.heatmap import enlarge
from medpref.imaging.localize import Fallback, bounded, whole
from medpref.imaging.regions import region_of
from medpref.registry import LOCALIZERS
from medpref.schema import Example, Frozen, Region


@LOCALIZERS.add
class Segmenter(Frozen):
    """What ``model`` finds for the concept in question and answer (MMedPO, arXiv:2412.06141, asks MedKLIP).

    A detector's boxes with a score of at least ``threshold``, the best ``top``; a segmenter's pixels with at least that
    probability, as one mask. The score (a mask's mean probability) is the confidence, the phrase the label, and the
    covered share stands in the origin. Nothing is found where the answer denies what is asked for, where neither names
    a concept, or where the model finds nothing; the same where all of it covers more than ``max_share``.
    """

    kind: Literal["segmenter"] = "segmenter"
    model: str = Field(min_length=1, description="folder or hf:ID of an OWL-ViT, OWLv2, Grounding DINO or CLIPSeg")
    threshold: float = Field(default=0.2, ge=0, le=1)
    top: int = Field(default=1, ge=1)
    dilate_px: float = Field(default=0.0, ge=0)
    min_share: float = Field(default=0.0, ge=0, le=1)
    max_share: float = Field(default=0.5, gt=0, le=1)
    fallback: Fallback = "none"

    def locate(self, example: Example, image: Pixels, *, index: int = 0) -> tuple[Region, ...]:
        phrase = concept_phrase(example)
        found = self._asked(phrase, image, index) if phrase else ()
        limits = {"dilate_px": self.dilate_px, "min_share": self.min_share, "max_share": self.max_share}
        kept = bounded(found, image, **limits) if found else ()
        if kept or self.fallback == "none":
            return kept
        return whole(image, index=index, origin="segmenter: none, whole_image instead")

    def _asked(self, phrase: str, image: Pixels, index: int) -> tuple[Region, ...]:
        from medpref.models.grounder import load_grounder

        grounder = load_grounder(self.model)
        shown = Image.fromarray(image)
        if grounder.draws:
            return self._drawn(enlarge(grounder.heat(shown, phrase), image), phrase, grounder, index)
        height, width = image.shape[:2]
        regions = []
        for box in grounder.boxes(shown, phrase)[: self.top]:
            left, top = (math.floor(edge) for edge in box.corners[:2])
            right, bottom = (math.ceil(edge) for edge in box.corners[2:])
            covers = (right - left) * (bottom - top) / (height * width)
            if box.score >= self.threshold:
                told = {"label": phrase, "origin": self._origin(grounder, covers), "image": index}
                regions.append(Region(box=(left, top, right, bottom), confidence=round(box.score, 6), **told))
        return tuple(regions)

    def _drawn(self, heat: Any, phrase: str, grounder: Any, index: int) -> tuple[Region, ...]:
        inside = np.asarray(heat >= self.threshold)
        if not inside.any():
            return ()
        told = {"label": phrase, "origin": self._origin(grounder, float(inside.mean())), "image": index}
        return (region_of(inside, confidence=round(min(1.0, float(heat[inside].mean())), 6), **told),)

    def _origin(self, grounder: Any, covers: float) -> str:
        return f"segmenter {grounder.family}~{grounder.mark}: score >= {self.threshold:g}, covers {covers:.4f}"
