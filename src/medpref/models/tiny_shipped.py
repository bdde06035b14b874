"""The three tiny architectures that ship with pretrained weights: LLaVA with Mistral or Qwen2, and Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLImageProcessorPil,
)

from medpref.models.processor import StillProcessor
from medpref.models.tokenizer import build_tokenizer

WIDTH, LAYERS, HEADS, IMAGE_PX = 128, 4, 4, 96
Built = tuple[Any, StillProcessor]

LLAVA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ '\n' }}{% else %}ASSISTANT:{{ '\n' }}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}"
    "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{{ '\n' }}{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_TOKENS = {
    "im_start_token": "<|im_start|>",
    "im_end_token": "<|im_end|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
}


def text_fields(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What every tiny language model's configuration says."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 352,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
    }


def _llava(text: type[MistralConfig] | type[Qwen2Config], **fields: Any) -> Built:
    tokenizer = build_tokenizer({"image_token": "<image>"}, LLAVA_TEMPLATE)
    ids: Callable[[str], Any] = tokenizer.convert_tokens_to_ids
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        image_size=IMAGE_PX,
        patch_size=12,
        projection_dim=WIDTH,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text(**text_fields(tokenizer), **fields),
        image_token_index=ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=64,
        tie_word_embeddings=True,
    )
    size = {"height": IMAGE_PX, "width": IMAGE_PX}
    images = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    held = {
        "processor_class": "LlavaProcessor",
        "image_token": "<image>",
        "patch_size": 12,
        "num_additional_image_tokens": 1,
        "vision_feature_select_strategy": "default",
    }
    return LlavaForConditionalGeneration(config), StillProcessor(images, tokenizer, LLAVA_TEMPLATE, fields=held)


def llava_mistral() -> Built:
    """The shape of LLaVA-Med."""
    return _llava(MistralConfig, sliding_window=None)


def llava_qwen2() -> Built:
    """The shape of HuatuoGPT-Vision."""
    return _llava(Qwen2Config)


def qwen2_5_vl() -> Built:
    """The shape of Qwen2.5-VL."""
    tokenizer = build_tokenizer(QWEN_TOKENS, QWEN_TEMPLATE)
    vision = {
        "depth": LAYERS,
        "hidden_size": WIDTH,
        "intermediate_size": 288,
        "num_heads": HEADS,
        "patch_size": 6,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 48,
        "fullatt_block_indexes": [1, 3],
        "out_hidden_size": WIDTH,
    }
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
    ids: Callable[[str], Any] = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        vision_config=vision,
        text_config={**text_fields(tokenizer), "rope_parameters": rope},
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    pixels = {"shortest_edge": 72 * 72, "longest_edge": IMAGE_PX**2}
    patches: dict[str, Any] = {"patch_size": 6, "merge_size": 2, "temporal_patch_size": 2}
    images = Qwen2VLImageProcessorPil(size=pixels, **patches)
    video = {"video_processor_type": "Qwen2VLVideoProcessor", "size": pixels, **patches}
    held = {"processor_class": "Qwen2_5_VLProcessor"}
    processor = StillProcessor(images, tokenizer, QWEN_TEMPLATE, fields=held, video=video)
    return Qwen2_5_VLForConditionalGeneration(config), processor
