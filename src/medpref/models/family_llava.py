"""LLaVA and LLaVA-NeXT: a CLIP-like tower, a two-layer projector, any decoder as language model.

LLaVA resizes an image to the tower's size. LLaVA-NeXT adds tiles at a higher resolution, cut back to the image's
aspect ratio, and a learned newline after every row of their patches.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape

from medpref.models.decoder import reader
from medpref.models.family import Family, Pixels, image_token, joined, text_positions


def features(model: Any, pixels: Pixels) -> Tensor:
    """``[image * patch, width]``: the selected tower layer through the projector."""
    return joined(model, pixels["pixel_values"])


def next_features(model: Any, pixels: Pixels) -> Tensor:
    """``[image_token, width]``: of each image the overview, then the tiles' rows with their newlines."""
    return joined(model, pixels["pixel_values"], image_sizes=pixels["image_sizes"])


def placeholders(processor: Any, pixels: Pixels) -> list[str]:
    """As many image tokens as the tower has patches (plus CLS, where it is kept) for each image."""
    images, _, height, width = pixels["pixel_values"].shape
    count = (height // processor.patch_size) * (width // processor.patch_size) + _class_tokens(processor)
    return [processor.image_token * count] * images


def next_placeholders(processor: Any, pixels: Pixels) -> list[str]:
    """Image tokens for the overview, and for the tiles' patches that lie on the image, with one newline a row."""
    edge = pixels["pixel_values"].shape[-1]
    side = edge // processor.patch_size
    counts = []
    for height, width in pixels["image_sizes"].tolist():
        tiles = get_anyres_image_grid_shape((height, width), processor.image_processor.image_grid_pinpoints, edge)
        rows, columns = _on_image(height, width, rows=side * tiles[0], columns=side * tiles[1])
        counts.append(side * side + _class_tokens(processor) + rows * (columns + 1))
    return [processor.image_token * count for count in counts]


def _on_image(height: int, width: int, *, rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of patches left when the padding to the tiles' aspect ratio is cut off on both sides."""
    if width / height > columns / rows:
        kept = int(round(height * (columns / width), 7))
        return rows - (rows - kept) // 2 * 2, columns
    kept = int(round(width * (rows / height), 7))
    return rows, columns - (columns - kept) // 2 * 2


def _class_tokens(processor: Any) -> int:
    return int(processor.fields["num_additional_image_tokens"]) - int(
        processor.fields["vision_feature_select_strategy"] == "default"
    )


def fields(config: Any) -> dict[str, Any]:
    """Patch size, feature selection and class tokens, as the model has them."""
    vision = config.vision_config
    return {
        "patch_size": vision.patch_size,
        "vision_feature_select_strategy": config.vision_feature_select_strategy,
        "num_additional_image_tokens": 0 if vision.model_type.startswith("siglip") else 1,
    }


LLAVA = Family(
    name="llava",
    model_types=("llava",),
    placeholder=image_token,
    placeholders=placeholders,
    features=features,
    positions=text_positions,
    hidden=reader("model.language_model"),
    fields=fields,
)
LLAVA_NEXT = Family(
    name="llava-next",
    model_types=("llava_next",),
    placeholder=image_token,
    placeholders=next_placeholders,
    features=next_features,
    positions=text_positions,
    hidden=reader("model.language_model"),
    fields=fields,
    image_options={"do_pad": True},
    projectors=("model.multi_modal_projector.", "model.image_newline"),
)
