"""Idefics3 and SmolVLM: an image as rows and columns of tiles, each named by a tag, and an overview after them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medpref.models.decoder import reader
from medpref.models.family import Family, Pixels, image_token, joined, text_positions

FRAME, OVERVIEW = "<fake_token_around_image>", "<global-img>"


def features(model: Any, pixels: Pixels) -> Tensor:
    """``[tile * tokens, width]`` of all images' tiles and overviews, in order."""
    return joined(model, pixels["pixel_values"], pixel_attention_mask=pixels["pixel_attention_mask"])


def placeholders(processor: Any, pixels: Pixels) -> list[str]:
    """The tagged tiles of each image, row by row, then its overview."""
    tokens = processor.image_token * int(processor.fields["image_seq_len"])
    sizes = zip(pixels["rows"].flatten().tolist(), pixels["cols"].flatten().tolist(), strict=True)
    return [_one(tokens, rows, columns) for rows, columns in sizes]


def _one(tokens: str, rows: int, columns: int) -> str:
    overview = f"{FRAME}{OVERVIEW}{tokens}{FRAME}"
    if rows == 0 and columns == 0:
        return overview
    tags = [[f"{FRAME}<row_{row + 1}_col_{column + 1}>" for column in range(columns)] for row in range(rows)]
    return "".join("".join(tag + tokens for tag in row) + "\n" for row in tags) + "\n" + overview


def fields(config: Any) -> dict[str, Any]:
    """How many tokens a tile has after the pixel shuffle."""
    vision = config.vision_config
    return {"image_seq_len": (vision.image_size // vision.patch_size) ** 2 // config.scale_factor**2}


IDEFICS3 = Family(
    name="idefics3",
    model_types=("idefics3", "smolvlm"),
    placeholder=image_token,
    placeholders=placeholders,
    features=features,
    positions=text_positions,
    hidden=reader("model.text_model"),
    fields=fields,
    image_options={"return_row_col_info": True},
    language="model.text_model",
    towers=("model.vision_model.",),
    projectors=("model.connector.",),
)
