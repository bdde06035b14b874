"""Regions of the image that a policy's answer depends on: the hot part of a gradient map.

Knows: how a run lends its policy to a localizer. Does not know: whether the policy looks at the right place; the share
of the map inside the region is its confidence. torch is loaded with the first map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from medpref.curation.builder import Builder
from medpref.errors import ModelError, RecipeError
from medpref.imaging.decode import Pixels, read_image
from medpref.imaging.heatmap import enlarge, hot
from medpref.imaging.localize import Fallback, bounded, whole
from medpref.imaging.regions import region_of
from medpref.models.fingerprint import fingerprint
from medpref.registry import LOCALIZERS
from medpref.schema import Example, Frozen, OwnReply, Region

LONGEST = 96  # tokens of an own reply, as in a run's replies
Load = Callable[[], Any]


@LOCALIZERS.add
class PolicySaliency(Frozen):
    """The pixels above the ``quantile`` of |d log p(reply) / d image|, by the policy under alignment.

    ``reply``: the right answer (what it rests on is to be hidden), or the policy's own greedy reply. ``of``: the image
    features that the language model reads, or the pixels. The map has one value an image token and is enlarged to the
    image. The region's confidence is the share of the map that lies in it; the covered share stands in its origin. A
    flat map, or an empty reply, gives nothing. ``policy`` names another model (tiny:..., hf:..., a folder) in place of
    the one under alignment. ModelError where a model's image tokens form no grid over the image (tiles, crops).
    """

    kind: Literal["policy_saliency"] = "policy_saliency"
    of: Literal["features", "pixels"] = "features"
    reply: Literal["answer", "own"] = "answer"
    quantile: float = Field(default=0.9, gt=0, lt=1)
    policy: str = ""
    dilate_px: float = Field(default=0.0, ge=0)
    min_share: float = Field(default=0.0, ge=0, le=1)
    max_share: float = Field(default=1.0, gt=0, le=1)
    fallback: Fallback = "none"

    def locate(self, example: Example, image: Pixels, *, index: int = 0) -> tuple[Region, ...]:
        """The hot part, by the model that ``policy`` names; RecipeError where it names none (a run binds its own)."""
        if not self.policy:
            todo = "run it in a recipe, or write policy: SPEC"
            raise RecipeError("localizer 'policy_saliency'", given="no policy", expected="one to ask", todo=todo)
        return _asking(self, Path()).locate(example, image, index=index)


@dataclass(frozen=True)
class Bound:
    """The localizer with the policy that it asks (loaded on first use), and the run folder of the other images.

    ``said`` are the policy's own replies by example, as far as there are any; the others are generated.
    """

    settings: PolicySaliency
    load: Load
    root: Path
    said: Mapping[str, OwnReply] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.settings.kind

    def locate(self, example: Example, image: Pixels, *, index: int = 0) -> tuple[Region, ...]:
        """The hot part of the map of one image."""
        own = self.settings
        shown = [
            Image.fromarray(image) if place == index else read_image(ref.locate(self.root))
            for place, ref in enumerate(example.images)
        ]
        reply = (example.answer if own.reply == "answer" else self._own(example, shown)).strip()
        found = self._hot(enlarge(self._map(example.question, reply, shown, index), image), index) if reply else ()
        limits = {"dilate_px": own.dilate_px, "min_share": own.min_share, "max_share": own.max_share}
        kept = bounded(found, image, **limits) if found else ()
        if kept or own.fallback == "none":
            return kept
        return whole(image, index=index, origin="policy_saliency: none, whole_image instead")

    def _hot(self, heat: NDArray[np.float64], index: int) -> tuple[Region, ...]:
        """The region of the map's hot part; none where the map is flat."""
        own = self.settings
        inside = hot(heat, own.quantile)
        if not inside.any():
            return ()
        asked = f" by {own.policy}~{fingerprint(own.policy)[:8]}" if own.policy else ""
        origin = f"policy_saliency of {own.of}{asked}: quantile {own.quantile:g}, covers {inside.mean():.4f}"
        share = min(1.0, float(heat[inside].sum() / heat.sum()))
        return (region_of(inside, label="saliency", origin=origin, confidence=round(share, 6), image=index),)

    def _own(self, example: Example, shown: Sequence[Image.Image]) -> str:
        """What the policy itself says, decoded greedily."""
        from medpref.models.generate import Request, generate

        if example.id in self.said:
            return self.said[example.id].text
        asked = Request(example.id, tuple(shown), example.question)
        return next(iter(generate(self.load(), [asked], max_new_tokens=LONGEST)))[0].text

    def _map(self, question: str, reply: str, shown: Sequence[Image.Image], index: int) -> NDArray[np.float64]:
        from medpref.models.saliency import saliency

        policy = self.load()
        made = saliency(policy, shown, question, reply, index=index, of=self.settings.of)
        if made is None:
            given = "image tokens that form no grid over the image (tiles, a crop or padding)"
            todo = "localize with given_regions, heatmap_regions or segmenter"
            raise ModelError(policy.spec, given=given, expected="one grid an image", todo=todo)
        return made


def lend(builder: Builder, policy: Any, root: Path, *, said: Mapping[str, OwnReply] | None = None) -> Builder:
    """The builder, its localizer bound to the run folder, the policy (or what a callable loads) and what that ``said``.

    One that names a policy of its own asks that one, which has said nothing yet. RecipeError where there is no policy.
    """
    own = builder.localize
    if not isinstance(own, PolicySaliency):
        return builder
    if own.policy:
        return replace(builder, localize=_asking(own, root))
    if policy is None:
        todo = "pass a policy, or write policy: SPEC"
        raise RecipeError(f"pairs {builder.name}", given=own.kind, expected="a policy to ask", todo=todo)
    return replace(builder, localize=Bound(own, policy if callable(policy) else lambda: policy, root, said or {}))


def _asking(own: PolicySaliency, root: Path) -> Bound:
    """The localizer bound to the policy that it names."""
    return Bound(own, lambda: _named(own.policy), root)


@lru_cache(maxsize=1)
def _named(spec: str) -> Any:
    """On this machine's device, as a run loads its own policy."""
    import torch

    from medpref.models.policy import load_policy

    return load_policy(spec, device="cuda", dtype="bfloat16") if torch.cuda.is_available() else load_policy(spec)
