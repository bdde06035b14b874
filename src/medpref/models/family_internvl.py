"""InternVL: an image as up to twelve tiles and a thumbnail, each pixel-shuffled to a quarter of its patches."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medpref.models.decoder import reader
from medpref.models.family import Family, Pixels, joined, text_positions


def features(model: Any, pixels: Pixels) -> Tensor:
    """``[tile * tokens, width]`` of all images' tiles, in order."""
    return joined(model, pixels["pixel_values"])


def placeholder(processor: Any) -> str:
    """The context token's text."""
    return str(processor.tokenizer.context_image_token)


def placeholders(processor: Any, pixels: Pixels) -> list[str]:
    """The tokens of all tiles of an image between its start and end tokens."""
    tokens, each = processor.tokenizer, int(processor.fields["image_seq_length"])
    return [
        tokens.start_image_token + tokens.context_image_token * each * int(tiles) + tokens.end_image_token
        for tiles in pixels["num_patches"]
    ]


INTERNVL = Family(
    name="internvl",
    model_types=("internvl",),
    placeholder=placeholder,
    placeholders=placeholders,
    features=features,
    positions=text_positions,
    hidden=reader("model.language_model"),
    fields=lambda config: {"image_seq_length": config.image_seq_length},
    image_options={"crop_to_patches": True},
)
