"""Tiny architectures of the other families, with random weights: what their tests read. None is pretrained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
)

from medpref.models.processor import StillProcessor
from medpref.models.tiny_shipped import HEADS, LLAVA_TEMPLATE, QWEN_TEMPLATE, QWEN_TOKENS, WIDTH, Built, text_fields
from medpref.models.tokenizer import build_tokenizer

SMALL: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}


def _llava_next() -> Built:
    tokenizer = build_tokenizer({"image_token": "<image>"}, LLAVA_TEMPLATE)
    pins = [[48, 96], [96, 48], [96, 96]]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**SMALL, image_size=48, patch_size=12, projection_dim=64),
        text_config=LlamaConfig(**text_fields(tokenizer)),
        image_token_index=_id(tokenizer, "<image>"),
        image_grid_pinpoints=pins,
        vision_feature_layer=-2,
        tie_word_embeddings=True,
    )
    crop = {"height": 48, "width": 48}
    images = LlavaNextImageProcessorPil(size={"shortest_edge": 48}, crop_size=crop, image_grid_pinpoints=pins)
    fields = {
        "processor_class": "LlavaNextProcessor",
        "patch_size": 12,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    return LlavaNextForConditionalGeneration(config), StillProcessor(images, tokenizer, LLAVA_TEMPLATE, fields=fields)


def _qwen_parts(tokenizer: Any, rope: dict[str, Any]) -> dict[str, Any]:
    return {
        "text_config": {
            **text_fields(tokenizer),
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, **rope},
        },
        "image_token_id": _id(tokenizer, "<|image_pad|>"),
        "video_token_id": _id(tokenizer, "<|video_pad|>"),
        "vision_start_token_id": _id(tokenizer, "<|vision_start|>"),
        "vision_end_token_id": _id(tokenizer, "<|vision_end|>"),
        "tie_word_embeddings": True,
    }


def _qwen_processor(tokenizer: Any, name: str) -> StillProcessor:
    patches: dict[str, Any] = {"patch_size": 6, "merge_size": 2, "temporal_patch_size": 2}
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": 36 * 36, "longest_edge": 72 * 72}, **patches)
    video = {"video_processor_type": name.replace("VLProcessor", "VLVideoProcessor")}
    return StillProcessor(images, tokenizer, QWEN_TEMPLATE, fields={"processor_class": name}, video=video)


def _qwen2_vl() -> Built:
    tokenizer = build_tokenizer(QWEN_TOKENS, QWEN_TEMPLATE)
    vision = {"depth": 2, "embed_dim": 64, "hidden_size": WIDTH, "num_heads": 2, "patch_size": 6, "mlp_ratio": 2}
    config = Qwen2VLConfig(vision_config=vision, **_qwen_parts(tokenizer, {"mrope_section": [4, 6, 6]}))
    return Qwen2VLForConditionalGeneration(config), _qwen_processor(tokenizer, "Qwen2VLProcessor")


def _qwen3_vl() -> Built:
    tokenizer = build_tokenizer(QWEN_TOKENS, QWEN_TEMPLATE)
    vision = {
        "depth": 3,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "patch_size": 6,
        "out_hidden_size": WIDTH,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    parts = _qwen_parts(tokenizer, {"mrope_section": [6, 5, 5], "mrope_interleaved": True})
    parts["text_config"]["head_dim"] = WIDTH // HEADS
    config = Qwen3VLConfig(vision_config=vision, **parts)
    return Qwen3VLForConditionalGeneration(config), _qwen_processor(tokenizer, "Qwen3VLProcessor")


def _gemma3() -> Built:
    tokens = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    template = LLAVA_TEMPLATE.replace("<image>\n", "<start_of_image>")
    tokenizer = build_tokenizer(tokens, template)
    text = {
        **text_fields(tokenizer),
        "head_dim": WIDTH // HEADS,
        "query_pre_attn_scalar": WIDTH // HEADS,
        "sliding_window": 24,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    }
    config = Gemma3Config(
        vision_config={**SMALL, "model_type": "siglip_vision_model", "image_size": 48, "patch_size": 6},
        text_config=text,
        mm_tokens_per_image=16,
        boi_token_index=_id(tokenizer, "<start_of_image>"),
        eoi_token_index=_id(tokenizer, "<end_of_image>"),
        image_token_index=_id(tokenizer, "<image_soft_token>"),
    )
    images = Gemma3ImageProcessorPil(size={"height": 48, "width": 48})
    fields = {"processor_class": "Gemma3Processor", "image_seq_length": 16}
    model = Gemma3ForConditionalGeneration(config)
    with torch.no_grad():  # transformers starts it at zero, which would hide the image
        model.model.multi_modal_projector.mm_input_projection_weight.normal_(std=0.1)
    return model, StillProcessor(images, tokenizer, template, fields=fields)


def _internvl() -> Built:
    tokens = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    template = LLAVA_TEMPLATE.replace("<image>", "<IMG_CONTEXT>")
    tokenizer = build_tokenizer({**tokens, "video_token": "<video>"}, template)
    config = InternVLConfig(
        vision_config={**SMALL, "image_size": [48, 48], "patch_size": [6, 6]},
        text_config=Qwen2Config(**text_fields(tokenizer)),
        image_token_id=_id(tokenizer, "<IMG_CONTEXT>"),
        image_seq_length=16,
        tie_word_embeddings=True,
    )
    images = GotOcr2ImageProcessorPil(size={"height": 48, "width": 48}, max_patches=3)
    fields = {"processor_class": "InternVLProcessor", "image_seq_length": 16}
    processor = StillProcessor(
        images, tokenizer, template, fields=fields, video={"video_processor_type": "InternVLVideoProcessor"}
    )
    return InternVLForConditionalGeneration(config), processor


def _tiled(config: Any, model: Any, images: Any, *, name: str, video: dict[str, Any] | None = None) -> Built:
    tags = {f"tile_{row}_{column}": f"<row_{row}_col_{column}>" for row in (1, 2, 3) for column in (1, 2, 3)}
    framing = {"fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>"}
    tokenizer = build_tokenizer({"image_token": "<image>", **framing, **tags}, LLAVA_TEMPLATE)
    filled = config(
        vision_config={**SMALL, "image_size": 48, "patch_size": 6},
        text_config=LlamaConfig(**text_fields(tokenizer)),
        image_token_id=_id(tokenizer, "<image>"),
        scale_factor=2,
        tie_word_embeddings=True,
    )
    edges = {"size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 48}}
    fields = {"processor_class": name, "image_seq_len": 16}
    processor = StillProcessor(images(**edges), tokenizer, LLAVA_TEMPLATE, fields=fields, video=video)
    return model(filled), processor


def _idefics3() -> Built:
    parts = (Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil)
    return _tiled(*parts, name="Idefics3Processor")


def _smolvlm() -> Built:
    parts = (SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil)
    return _tiled(*parts, name="SmolVLMProcessor", video={"video_processor_type": "SmolVLMVideoProcessor"})


def _id(tokenizer: Any, token: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token))


OTHERS: dict[str, Callable[[], Built]] = {
    "llava-next": _llava_next,
    "qwen2_vl": _qwen2_vl,
    "qwen3_vl": _qwen3_vl,
    "gemma3": _gemma3,
    "internvl": _internvl,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
}
