"""Tiny random text-prompted detectors and a segmenter, built from configurations and saved as checkpoints."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTImageProcessorPil,
    PreTrainedTokenizerFast,
    SwinConfig,
    ViTImageProcessorPil,
)

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "left", "right", "pleural", "effusion", "mass", "heart", "<end>")
TEXT = {
    "vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "max_position_embeddings": 16, "bos_token_id": 2, "eos_token_id": len(WORDS) - 1,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
SIZE = {"height": 32, "width": 32}
DINO = {"grounding-dino": (GroundingDinoConfig, GroundingDinoForObjectDetection)}
DINO["mm-grounding-dino"] = (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection)
KINDS = ("owlvit", "owlv2", *DINO, "clipseg")


def build(kind: str, folder: Path) -> Path:
    """The folder of a random checkpoint of this kind."""
    torch.manual_seed(0)
    model, processor = _made(kind)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    _tokenizer(bert=kind in DINO).save_pretrained(folder)
    return folder


def _made(kind: str):
    if kind == "owlvit":
        config = OwlViTConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)
        return OwlViTForObjectDetection(config), OwlViTImageProcessorPil(size=SIZE)
    if kind == "owlv2":
        config = Owlv2Config(text_config=TEXT, vision_config=VISION, projection_dim=16)
        return Owlv2ForObjectDetection(config), Owlv2ImageProcessorPil(size=SIZE)
    if kind == "clipseg":
        config = CLIPSegConfig(
            text_config=TEXT, vision_config=VISION, projection_dim=16, extract_layers=[0], reduce_dim=8,
            decoder_num_attention_heads=2, decoder_intermediate_size=16,
        )  # fmt: skip
        return CLIPSegForImageSegmentation(config), ViTImageProcessorPil(size=SIZE)
    text = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )  # fmt: skip
    swin = SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=2,
        out_features=["stage1", "stage2"],
    )  # fmt: skip
    configure, model = DINO[kind]
    config = configure(
        backbone_config=swin, text_config=text, encoder_layers=1, decoder_layers=2, d_model=32, encoder_ffn_dim=16,
        decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, num_queries=6, num_feature_levels=2,
        encoder_n_points=1, decoder_n_points=1, max_text_len=32,
    )  # fmt: skip
    return model(config), GroundingDinoImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64})


def _tokenizer(*, bert: bool) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    single = "[CLS] $A [SEP]" if bert else "$A <end>"
    ends = [("[CLS]", 2), ("[SEP]", 3), ("<end>", len(WORDS) - 1)]
    words.post_processor = processors.TemplateProcessing(single=single, special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=16,
    )  # fmt: skip
