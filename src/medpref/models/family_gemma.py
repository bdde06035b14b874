"""Gemma 3 (and MedGemma): a SigLIP tower, 256 tokens an image that see each other both ways, sliding-window layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medpref.models.bare import bare
from medpref.models.decoder import run, same_image
from medpref.models.family import Family, Pixels, joined, text_positions


def features(model: Any, pixels: Pixels) -> Tensor:
    """``[image * tokens, width]``: pooled tower states through the projector."""
    return joined(model, pixels["pixel_values"])


def hidden(
    model: Any,
    embeds: Tensor,
    mask: Tensor,
    positions: Tensor,
    *,
    ids: Tensor | None = None,
    key_positions: Tensor | None = None,
    **extra: Any,
) -> Tensor:
    """Final hidden states; image tokens of one run in ``ids`` see each other, whatever ``mask`` says of them."""
    if ids is None:
        raise ValueError("Gemma 3 needs ids: its image tokens see each other both ways")
    base = bare(model)
    return run(
        base.model.language_model,
        embeds,
        mask,
        positions[0],
        keys=positions[0] if key_positions is None else key_positions,
        visible=same_image(ids, base.config.image_token_id, mask.shape[-1]),
        **extra,
    )


def placeholder(processor: Any) -> str:
    """The begin-of-image token's text, which is all that the chat template writes."""
    return str(processor.tokenizer.boi_token)


def placeholders(processor: Any, pixels: Pixels) -> list[str]:
    """Each image's tokens between begin and end tokens; with pan and scan, its crops after it."""
    tokens = processor.tokenizer
    image = tokens.image_token * int(processor.fields["image_seq_length"])
    one = f"\n\n{tokens.boi_token}{image}{tokens.eoi_token}\n\n"
    return [_with_crops(one, int(crops)) for crops in pixels["num_crops"]]


def _with_crops(one: str, crops: int) -> str:
    """The wording that the model was trained with (Gemma 3 processor)."""
    if crops == 0:
        return one
    return f"Here is the original image {one} and here are some crops to help you see better " + " ".join([one] * crops)


GEMMA3 = Family(
    name="gemma3",
    model_types=("gemma3",),
    placeholder=placeholder,
    placeholders=placeholders,
    features=features,
    positions=text_positions,
    hidden=hidden,
    fields=lambda config: {"image_seq_length": config.mm_tokens_per_image},
    bidirectional_images=True,
)
