"""A text-prompted detector or segmenter: where in an image a phrase is, as boxes with scores or as a map.

Detectors are what ``AutoModelForZeroShotObjectDetection`` reads (OWL-ViT, OWLv2, Grounding DINO); CLIPSeg gives a map.
Knows: each one's prompt and boxes. Does not know: thresholds, regions, or which phrase to ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForZeroShotObjectDetection,
    AutoTokenizer,
    CLIPSegForImageSegmentation,
)

from medpref.errors import ModelError
from medpref.models.fingerprint import checkpoint, fingerprint
from medpref.models.quiet import quiet

OWL, DINO, CLIPSEG = ("owlvit", "owlv2"), ("grounding-dino", "mm-grounding-dino"), "clipseg"


class Box(NamedTuple):
    """Left, top, right and bottom in pixels of the image (floats, inside it), and the detector's score in [0, 1]."""

    corners: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, eq=False)
class Grounder:
    """A loaded model with its tokenizer and image processor; ``family`` is its ``config.model_type``.

    ``mark`` stands for its files in provenance: the first hexadecimal digits of their hash.
    """

    model: Any
    tokenizer: Any
    image_processor: Any
    family: str
    mark: str

    @torch.no_grad()
    def boxes(self, image: Image.Image, phrase: str) -> list[Box]:
        """Every proposal with its score, the best first; a segmenter has none."""
        out = self._read(image, f"{phrase.lower()}." if self.family in DINO else phrase)
        scores, proposed = out.logits[0].float().sigmoid().amax(dim=-1), out.pred_boxes[0].float()
        width, height = image.size
        across, down = (max(image.size),) * 2 if self.family == "owlv2" else (width, height)
        found = []
        for score, (x, y, w, h) in zip(scores.tolist(), proposed.tolist(), strict=True):
            left, right = (min(max(edge * across, 0.0), width) for edge in (x - w / 2, x + w / 2))
            top, bottom = (min(max(edge * down, 0.0), height) for edge in (y - h / 2, y + h / 2))
            if right > left and bottom > top:
                found.append(Box((left, top, right, bottom), score))
        return sorted(found, key=lambda box: (-box.score, box.corners))

    @torch.no_grad()
    def heat(self, image: Image.Image, phrase: str) -> NDArray[np.float64]:
        """[row, column]: the probability of the phrase at each point of the segmenter's own grid."""
        logits = self._read(image, phrase).logits.float()
        heat: NDArray[np.float64] = logits.sigmoid().reshape(logits.shape[-2:]).double().cpu().numpy()
        return heat

    @property
    def draws(self) -> bool:
        """Whether it gives maps, not boxes."""
        return self.family == CLIPSEG

    def _read(self, image: Image.Image, text: str) -> Any:
        pixels = self.image_processor(image.convert("RGB"), return_tensors="pt")
        limit = int(self.model.config.text_config.max_position_embeddings)
        padding = "max_length" if self.family in OWL else False
        words = self.tokenizer([text], return_tensors="pt", padding=padding, truncation=True, max_length=limit)
        device = next(self.model.parameters()).device
        named = {"input_ids", "attention_mask"} | ({"token_type_ids"} if self.family in DINO else set())
        given = {key: torch.as_tensor(value).to(device) for key, value in words.items() if key in named}
        seen = {"pixel_values"} | ({"pixel_mask"} if self.family in DINO else set())
        shown = {key: torch.as_tensor(value).to(device) for key, value in pixels.items() if key in seen}
        return self.model(**given, **shown)


@lru_cache(maxsize=2)
def load_grounder(source: str) -> Grounder:
    """The model of a checkpoint folder or hub id, safetensors only, on a GPU where there is one; ModelError if not."""
    where = checkpoint(source)
    try:
        with quiet():
            family, model = _model(where, source)
            processor = AutoImageProcessor.from_pretrained(where, backend="pil")
            tokenizer = AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        expected = "a text-prompted detector or CLIPSeg with safetensors weights"
        raise ModelError(source, given=reason, expected=expected, todo="check the folder or the hub id") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Grounder(model.to(device), tokenizer, processor, family, fingerprint(where)[:8])


def _model(where: str, source: str) -> tuple[str, Any]:
    """Its family and the model, in float32 whatever it was saved in: its images are float32.

    One whose weights are not all there would find things at random: a ModelError.
    """
    family = AutoConfig.from_pretrained(where).model_type
    if family not in (*OWL, *DINO, CLIPSEG):
        given, expected = f"a model of type {family!r}", ", ".join((*OWL, *DINO, CLIPSEG))
        raise ModelError(source, given=given, expected=expected, todo="choose one of these")
    reader: Any = CLIPSegForImageSegmentation if family == CLIPSEG else AutoModelForZeroShotObjectDetection
    model, told = reader.from_pretrained(where, use_safetensors=True, dtype=torch.float32, output_loading_info=True)
    if missing := sorted(told["missing_keys"]):
        given = f"{len(missing)} parameters without weights, such as {missing[0]}"
        todo = "choose a checkpoint of the whole detector, not of its encoders alone"
        raise ModelError(source, given=given, expected="all of them", todo=todo)
    return family, model.eval()
