"""LLaVA architectures with random weights in the shapes that are measured, and copies of them that share weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from medpref.models.family_llava import LLAVA
from medpref.models.policy import Policy
from medpref.models.processor import StillProcessor

UNKNOWN, PAD, END, IMAGE = "<unk>", "<pad>", "</s>", "<image>"
FIRST_WORD = 4


@dataclass(frozen=True)
class Shape:
    """Sizes of a language model and of its tower, which gives ``side`` x ``side`` image tokens."""

    text: dict[str, Any]
    tower: dict[str, int]
    patch_px: int
    side: int
    family: type[Any] = MistralConfig

    @property
    def image_tokens(self) -> int:
        return self.side**2

    @property
    def vocabulary(self) -> int:
        return int(self.text["vocab_size"])


def _text(width: int, layers: int, inner: int, heads: int, *, groups: int, words: int, **other: Any) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": words,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
        **other,
    }


def _tower(width: int, layers: int, heads: int) -> dict[str, int]:
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return {**sizes, "intermediate_size": 4 * width, "projection_dim": width}


MISTRAL = {"sliding_window": None}
SHAPES = {
    "smoke": Shape(_text(32, 2, 64, 2, groups=1, words=512, **MISTRAL), _tower(16, 2, 2), patch_px=4, side=4),
    "mini": Shape(_text(256, 6, 896, 8, groups=2, words=8192, **MISTRAL), _tower(64, 3, 4), patch_px=4, side=24),
    "4b": Shape(
        _text(2560, 36, 9728, 32, groups=8, words=151936, head_dim=128, tie_word_embeddings=True),
        _tower(1024, 24, 16),
        patch_px=14,
        side=32,
        family=Qwen3Config,
    ),
    "7b": Shape(
        _text(4096, 32, 14336, 32, groups=8, words=32000, **MISTRAL), _tower(1024, 24, 16), patch_px=14, side=24
    ),
}
"""``mini`` is LLaVA-Med in small: the same ratios of MLP, heads and groups, and a tower that costs about 5 % of a row.

``7b`` has LLaVA-Med's dimensions (Mistral 7B, CLIP-L/14 at 336 px); ``4b`` the language model of Qwen3-VL-4B behind
a CLIP-L tower at 448 px, which gives 1,024 image tokens.
"""


def config_of(shape: Shape) -> LlavaConfig:
    """The configuration; nothing is built."""
    size = shape.side * shape.patch_px
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**shape.tower, image_size=size, patch_size=shape.patch_px),
        text_config=shape.family(**shape.text, bos_token_id=None, eos_token_id=2, pad_token_id=1),
        image_token_index=3,
        image_seq_length=shape.image_tokens,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=shape.text["tie_word_embeddings"],
    )


def build(shape: Shape, *, device: str, dtype: torch.dtype, seed: int = 0) -> Policy:
    """A policy with random weights, made on the device itself; a word is a token (``w17`` has id 17 + FIRST_WORD)."""
    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlavaForConditionalGeneration(config_of(shape))
    finally:
        torch.set_default_dtype(before)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.name_or_path = model.config._name_or_path = "random"
    return Policy(model.eval(), processor_of(shape), LLAVA, "random")


def processor_of(shape: Shape) -> StillProcessor:
    """The image processor and a tokenizer of whole words; there is no chat template, prompts are written out."""
    edge = shape.side * shape.patch_px
    size = {"height": edge, "width": edge}
    images = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    fields = {
        "patch_size": shape.patch_px,
        "num_additional_image_tokens": 1,
        "vision_feature_select_strategy": "default",
    }
    return StillProcessor(images, tokenizer_of(shape), None, fields={**fields, "image_token": IMAGE})


def tokenizer_of(shape: Shape) -> PreTrainedTokenizerFast:
    """Words between spaces are tokens."""
    specials = [UNKNOWN, PAD, END, IMAGE]
    words = [*specials, *(f"w{number}" for number in range(shape.vocabulary - FIRST_WORD))]
    plain = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=UNKNOWN))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in specials])
    return PreTrainedTokenizerFast(tokenizer_object=plain, unk_token=UNKNOWN, pad_token=PAD, eos_token=END)


def twin(policy: Policy) -> Policy:
    """A policy with modules, hooks and later adapters of its own, over the same frozen weights (no byte is copied)."""
    shared = {id(value): value for value in (*policy.base.parameters(), *policy.base.buffers())}
    return Policy(copy.deepcopy(policy.base, shared), policy.processor, policy.family, policy.spec)


def lora(policy: Policy) -> LoraConfig:
    """The adapter of every arm: r = 16 on all linears of the language model, no dropout."""
    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=policy.family.lora_targets, bias="none")
