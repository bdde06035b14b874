"""Tokenizers built as the released ones of each family are (normalizer, splits, merges, decoder), on our own sentences.

The vocabularies are small; what decides which characters a token owns is the same.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from medpref.models.tiny_shipped import QWEN_TEMPLATE, QWEN_TOKENS
from medpref.models.tokenizer import tokenizer_text

LETTERS_AND_ALL_ELSE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPLIT, LLAMA3_SPLIT = (LETTERS_AND_ALL_ELSE.replace("DIGITS", digits) for digits in (r"\p{N}", r"\p{N}{1,3}"))
FRAMES = ("<s>", "</s>", "<image>")


def _turns(user: str, reply: str, *, between: str, after: str, begin: str = "") -> str:
    """A chat template: ``begin``, then each turn; after the last one the start of the reply."""
    text = (
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    )
    begins = reply.rstrip(" ")
    return (
        f"{begin}{{% for message in messages %}}{{% if message['role'] == 'user' %}}{user}{text}{between}"
        f"{{% else %}}{reply}{text}{after}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{begins}{{% endif %}}"
    )


VICUNA = _turns("USER: <image>\n", "ASSISTANT: ", between=" ", after="</s>")
MISTRAL = _turns("[INST] <image>\n", " ", between=" [/INST]", after="</s>", begin="<s>")
GEMMA = _turns(
    "<start_of_turn>user\n<start_of_image>",
    "<start_of_turn>model\n",
    between="<end_of_turn>\n",
    after="<end_of_turn>\n",
)
IDEFICS = _turns(
    "User:<image>",
    "Assistant: ",
    between="<end_of_utterance>\n",
    after="<end_of_utterance>\n",
    begin="<|begin_of_text|>",
)
INTERN = QWEN_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<img><IMG_CONTEXT></img>\n")


def _fast(tokenizer: Tokenizer, specials: tuple[str, ...], end: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=end,
        unk_token="<unk>",
        additional_special_tokens=list(specials),
        clean_up_tokenization_spaces=False,
    )


def _byte_level(
    split: str | None, specials: tuple[str, ...], end: str, *, nfc: bool = False
) -> PreTrainedTokenizerFast:
    first = pre_tokenizers.Split(Regex(split), "isolated") if split else pre_tokenizers.Digits(individual_digits=True)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, level])
    tokenizer.decoder = decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<unk>", *specials], initial_alphabet=alphabet, show_progress=False
    )
    lines = list(tokenizer_text())
    tokenizer.train_from_iterator([*lines, *(f" {line}" for line in lines)], trainer)
    return _fast(tokenizer, specials, end)


def _sentencepiece(specials: tuple[str, ...], end: str, **parts: Any) -> PreTrainedTokenizerFast:
    """Merges over characters and within words, with bytes for characters that the vocabulary lacks."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=["<unk>", *specials], show_progress=False)
    tokenizer.train_from_iterator(tokenizer_text(), trainer)
    tokenizer.pre_tokenizer = None
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    held = json.loads(tokenizer.to_str())
    model = held["model"]
    for byte in range(256):
        model["vocab"].setdefault(f"<0x{byte:02X}>", len(model["vocab"]))
    model |= {"byte_fallback": True, "fuse_unk": True}
    return _fast(Tokenizer.from_str(json.dumps(held)), specials, end)


def _llama(specials: tuple[str, ...] = FRAMES) -> PreTrainedTokenizerFast:
    """LLaMA and Mistral as converted: a space put before all, spaces written as marks, no splits at all."""
    undo = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    write = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    parts = {"normalizer": normalizers.Sequence(write), "decoder": decoders.Sequence(undo)}
    return _sentencepiece(specials, "</s>", **parts)


def _metaspace() -> PreTrainedTokenizerFast:
    """LLaMA as newer conversions have it: the mark before the first word only."""
    undo = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    split = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return _sentencepiece(FRAMES, "</s>", pre_tokenizer=split, decoder=decoders.Sequence(undo))


def _gemma() -> PreTrainedTokenizerFast:
    """Gemma 3: nothing put before, spaces written as marks, split before them, bytes for what is missing."""
    specials = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>")
    undo = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    parts = {"normalizer": normalizers.Replace(" ", "▁"), "decoder": decoders.Sequence(undo)}
    split = pre_tokenizers.Split(" ", "merged_with_previous")
    return _sentencepiece(specials, "<eos>", pre_tokenizer=split, **parts)


def _qwen(*more: str) -> PreTrainedTokenizerFast:
    return _byte_level(QWEN_SPLIT, ("<|endoftext|>", *QWEN_TOKENS.values(), *more), "<|endoftext|>", nfc=True)


def _idefics(split: str | None) -> PreTrainedTokenizerFast:
    return _byte_level(split, ("<|begin_of_text|>", "<end_of_utterance>", "<image>", "<|eot|>"), "<|eot|>")


MADE: dict[str, tuple[str, Callable[[], PreTrainedTokenizerFast], str]] = {
    "llava vicuna": ("llava", _llama, VICUNA),
    "llava vicuna, newer": ("llava", _metaspace, VICUNA),
    "llava mistral": ("llava", _llama, MISTRAL),
    "llava qwen2": ("llava", _qwen, QWEN_TEMPLATE),
    "llava_next mistral": ("llava_next", _llama, MISTRAL),
    "qwen2_vl": ("qwen2_vl", _qwen, QWEN_TEMPLATE),
    "qwen2_5_vl": ("qwen2_5_vl", _qwen, QWEN_TEMPLATE),
    "qwen3_vl": ("qwen3_vl", _qwen, QWEN_TEMPLATE),
    "gemma3": ("gemma3", _gemma, GEMMA),
    "internvl": ("internvl", lambda: _qwen("<img>", "</img>", "<IMG_CONTEXT>"), INTERN),
    "idefics3": ("idefics3", lambda: _idefics(LLAMA3_SPLIT), IDEFICS),
    "smolvlm": ("smolvlm", lambda: _idefics(None), IDEFICS),
}


@functools.cache
def made(name: str) -> tuple[PreTrainedTokenizerFast, str]:
    """The tokenizer and the chat template of a name in ``MADE``."""
    _, build, template = MADE[name]
    return build(), template
