"""Real transformers architectures small enough for two CPU cores, and the pretrained bases that ship with medpref.

``tiny:llava-mistral`` has the shape of LLaVA-Med, ``tiny:llava-qwen2`` of HuatuoGPT-Vision, ``tiny:qwen2_5_vl`` of
Qwen2.5-VL. Each has 1-3 million parameters and gives an image 64 tokens. The shipped bases were trained by us on
synthetic phantoms (``make phantom-base``); they know nothing about patients.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
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

from medpref.errors import ModelError, nearest
from medpref.models.processor import StillProcessor
from medpref.models.quiet import quiet
from medpref.models.tokenizer import build_tokenizer

BASES = Path(__file__).parent / "bases"
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


def _text_fields(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
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
        text_config=text(**_text_fields(tokenizer), **fields),
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


def _llava_mistral() -> Built:
    return _llava(MistralConfig, sliding_window=None)


def _llava_qwen2() -> Built:
    return _llava(Qwen2Config)


def _qwen2_5_vl() -> Built:
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
        text_config={**_text_fields(tokenizer), "rope_parameters": rope},
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


BUILDERS: dict[str, Callable[[], Built]] = {
    "llava-mistral": _llava_mistral,
    "llava-qwen2": _llava_qwen2,
    "qwen2_5_vl": _qwen2_5_vl,
}


def build_tiny(spec: str) -> Built:
    """Model and processor of ``tiny:NAME@random`` or ``tiny:NAME@random:SEED``, the same for the same seed."""
    name, _, how = spec.removeprefix("tiny:").partition("@")
    word, _, seed = how.partition(":")
    if word != "random" or not (seed or "0").isdigit():
        raise ModelError(spec, given=f"@{how}", expected="@random or @random:SEED", todo="correct the suffix")
    builder = BUILDERS[known_name(name, spec)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed or "0"))
        model, processor = builder()
    return model.eval(), processor


def known_name(name: str, where: str) -> str:
    """``name`` if it is a tiny model's; ModelError with the nearest ones."""
    if name not in BUILDERS:
        raise ModelError(where, given=f"tiny model {name!r}", expected="a known one", todo=nearest(name, BUILDERS))
    return name


def base_folder(spec: str) -> Path:
    """The folder of a shipped pretrained base, ``tiny:NAME``."""
    folder = BASES / known_name(spec.removeprefix("tiny:"), spec)
    if not (folder / "model.safetensors").exists():
        raise ModelError(
            spec,
            given=f"no weights in {folder}",
            expected="the pretrained base",
            todo=f"make it with `make phantom-base`, or use {spec}@random",
        )
    return folder


def save_base(policy: Any, folder: Path) -> None:
    """Write a policy in half precision, as the shipped bases are (half the bytes; it is read back as float32)."""
    halves: dict[int, Tensor] = {}
    state = policy.model.state_dict()
    half = {name: halves.setdefault(value.data_ptr(), value.to(torch.float16)) for name, value in state.items()}
    with quiet():
        policy.model.save_pretrained(str(folder), state_dict=half)
    policy.processor.save_pretrained(folder)
