"""A model family: the few operations that reading a branch needs, as data.

A family says how images become rows of embeddings, which position every token has, and how the language model is
called with a mask of our own. Families differ in nothing else that the engine sees. ``family_llava.py`` and its
neighbours fill the table in ``families.py``.

Rows of ``features`` and ``embed`` are opaque: a family may append columns to them (Qwen3-VL's DeepStack levels), which
only its own ``hidden`` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from medpref.models.bare import bare

Pixels = Mapping[str, Tensor]
LORA_LINEARS = r"(?:self_attn\.(?:q_proj|k_proj|v_proj|o_proj)|mlp\.(?:gate_proj|up_proj|down_proj))"


@dataclass(frozen=True, eq=False)
class Family:
    """What the engine, the generator and the trainer ask of a model. ``model`` is bare or wrapped in PEFT.

    Attributes:
        name: as in messages and tests.
        model_types: values of ``config.model_type`` that belong here.
        placeholder: ``processor -> the text`` that stands for one image in the rendered chat template.
        placeholders: ``(processor, pixels) ->`` what replaces it, one text per image.
        features: ``(model, pixels) -> [image_token, width]``: tower and projector over one study's images.
        positions: ``(model, ids, pixels) -> LongTensor[axes, token]``; 1 axis, or 3 for multi-axis rotary.
        hidden: ``(model, embeds[batch, token, width], mask[batch, 1, token, key], positions[axes, batch, token])``
            gives final hidden states after the final norm, before the head. ``ids[batch, token]`` is needed by families
            whose image tokens see each other both ways; ``key_positions[batch, key]`` (position axis 0) where keys are
            cached; other keywords reach the language model (``past_key_values``).
        fields: ``model config -> processor fields`` that follow from it.
        image_options: what the family's own processor passes to its image processor in every call.
        language: the path of the language model.
        towers, projectors: path prefixes of their parameters.
        axes: position axes.
        levels: ``model ->`` how many extra widths of columns an embedding row has.
        bidirectional_images: image tokens of one image see each other both ways.
    """

    name: str
    model_types: tuple[str, ...]
    placeholder: Callable[[Any], str]
    placeholders: Callable[[Any, Pixels], list[str]]
    features: Callable[[Any, Pixels], Tensor]
    positions: Callable[[Any, Sequence[int], Pixels], Tensor]
    hidden: Callable[..., Tensor]
    fields: Callable[[Any], dict[str, Any]] = lambda config: {}
    image_options: Mapping[str, Any] = field(default_factory=dict)
    language: str = "model.language_model"
    towers: tuple[str, ...] = ("model.vision_tower.",)
    projectors: tuple[str, ...] = ("model.multi_modal_projector.",)
    axes: int = 1
    levels: Callable[[Any], int] = lambda model: 0
    bidirectional_images: bool = False

    def image_token_id(self, model: Any) -> int:
        """The id that image features replace."""
        config = bare(model).config
        token = getattr(config, "image_token_id", None)
        return int(config.image_token_index if token is None else token)

    def embed(self, model: Any, ids: Tensor, features: Tensor) -> Tensor:
        """Embeddings ``[token, width]`` of ids ``[token]``, the image tokens replaced by ``features`` in order.

        A ValueError says so if their number differs.
        """
        image = ids == self.image_token_id(model)
        return scatter(self.embed_text(model, ids.masked_fill(image, 0)), image, features)

    def embed_text(self, model: Any, ids: Tensor) -> Tensor:
        """Embeddings ``[..., width]`` of ids read as text, placeholders too."""
        rows: Tensor = bare(model).get_input_embeddings()(ids)
        return torch.nn.functional.pad(rows, (0, self.levels(model) * rows.shape[-1]))

    def head(self, model: Any) -> nn.Linear:
        """The vocabulary head."""
        return bare(model).get_output_embeddings()

    @property
    def lora_targets(self) -> str:
        """A regular expression (full match) of the language model's attention and MLP linears, for ``LoraConfig``."""
        return rf".*{self.language.rpartition('.')[2]}\.layers\.\d+\.{LORA_LINEARS}"

    def tower_parameters(self, model: Any) -> list[nn.Parameter]:
        """Parameters of the vision tower."""
        return _under(model, self.towers)

    def projector_parameters(self, model: Any) -> list[nn.Parameter]:
        """Parameters between tower and language model."""
        return _under(model, self.projectors)


def scatter(rows: Tensor, where: Tensor, features: Tensor) -> Tensor:
    """``rows`` with those in ``where`` replaced by ``features``, in order; a ValueError if their number differs."""
    wanted = int(where.sum())
    if wanted != len(features):
        raise ValueError(f"{wanted} image tokens, but {len(features)} rows of image features")
    if wanted == 0:
        return rows
    return rows.masked_scatter(where.unsqueeze(-1), features.to(rows.dtype))


def text_positions(model: Any, ids: Sequence[int], pixels: Pixels) -> Tensor:
    """``[1, token]``: 0, 1, 2, ..."""
    return torch.arange(len(ids)).unsqueeze(0)


def _under(model: Any, prefixes: tuple[str, ...]) -> list[nn.Parameter]:
    return [value for name, value in bare(model).named_parameters() if name.startswith(prefixes)]


def image_token(processor: Any) -> str:
    """The image token's text, where the chat template writes it itself."""
    return str(processor.image_token)


def joined(model: Any, values: Tensor, **options: Any) -> Tensor:
    """``[image_token, width]``: the features that the model's own ``get_image_features`` gives, image after image."""
    base = bare(model)
    moved = {key: value.to(base.device) for key, value in options.items()}
    out = base.get_image_features(pixel_values=values.to(base.device, base.dtype), return_dict=True, **moved)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in out.pooler_output])
