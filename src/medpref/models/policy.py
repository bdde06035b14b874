"""A policy: a vision-language model with everything that reading or writing a reply needs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedTokenizerBase

from medpref.errors import DataError, ModelError
from medpref.models.bare import bare
from medpref.models.families import family_of
from medpref.models.family import Family
from medpref.models.fingerprint import folder_of, is_hub_id
from medpref.models.processor import StillProcessor, load_processor
from medpref.models.quiet import quiet, wrapping
from medpref.models.tiny import base_folder, build_tiny
from medpref.models.turn import Turn, read_turn, render, tokenise_reply
from medpref.schema import Span
from medpref.store import read_json, to_json

PLACE_KEYS = ("_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype", "_attn_implementation")
MEMO = 4096


@dataclass(frozen=True, eq=False)
class Policy:
    """``model`` may be wrapped in PEFT; ``spec`` is what it was loaded from.

    >>> policy = load_policy("tiny:llava-mistral@random")
    >>> policy.decode(policy.reply_ids("No.")[0])
    'No.'
    """

    model: Any
    processor: StillProcessor
    family: Family
    spec: str

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.processor.tokenizer

    @property
    def base(self) -> Any:
        """The transformers model, without a PEFT wrapper."""
        return bare(self.model)

    @property
    def device(self) -> torch.device:
        return next(self.base.parameters()).device

    @functools.cached_property
    def turn(self) -> Turn:
        """What the chat template puts around a reply."""
        return read_turn(self.tokenizer, self.processor.chat_template, where=self.spec)

    def weights_hash(self) -> str:
        """SHA-256 over every parameter (adapters included), the model's and the processor's configuration."""
        sha = hashlib.sha256()
        for name, value in sorted(self.model.named_parameters()):
            sha.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
            sha.update(value.detach().reshape(-1).contiguous().view(torch.uint8).cpu().numpy().tobytes())
        sha.update(to_json(_without_place(self.base.config.to_dict())).encode())
        sha.update(self.processor_hash().encode())
        return sha.hexdigest()

    def processor_hash(self) -> str:
        """SHA-256 over what decides a prompt's tokens and pixels: processor, chat template, vocabulary."""
        held = [
            _without_place(self.processor.image_processor.to_dict()),
            self.processor.fields,
            self.processor.chat_template,
            self.tokenizer.get_vocab(),
        ]
        return hashlib.sha256(to_json(held).encode()).hexdigest()

    def pixels(self, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """The image processor's tensors for the images of one study, in order; greyscale becomes RGB."""
        if not images:
            raise DataError(self.spec, given="no image", expected="at least one", todo="give the study's images")
        rgb = [image.convert("RGB") for image in images]
        batch = self.processor.image_processor(rgb, return_tensors="pt", **self.family.image_options)
        return {key: torch.as_tensor(value) for key, value in batch.items()}

    def prompt_ids(self, question: str, pixels: Mapping[str, Tensor]) -> list[int]:
        """Ids of the prompt, image placeholders expanded; DataError if the question holds a special token's text."""
        placeholder = self.family.placeholder(self.processor)
        special = next((t for t in (placeholder, *self.tokenizer.all_special_tokens) if t in question), None)
        if special is not None:
            raise DataError(
                f"question {question[:60]!r}",
                given=f"the special token {special!r} in its text",
                expected="plain text",
                todo="remove it from the question",
            )
        return list(self._prompt(question, tuple(self.family.placeholders(self.processor, pixels))))

    @functools.cached_property
    def _prompt(self) -> Callable[[str, tuple[str, ...]], tuple[int, ...]]:
        """The latest prompts by question and placeholders: all views of a study ask alike."""
        return functools.lru_cache(maxsize=MEMO)(self._read_prompt)

    def _read_prompt(self, question: str, texts: tuple[str, ...]) -> tuple[int, ...]:
        placeholder = self.family.placeholder(self.processor)
        prompt = render(self.tokenizer, self.processor.chat_template, question, images=len(texts))
        pieces = prompt.split(placeholder)
        if len(pieces) != len(texts) + 1:
            raise ModelError(
                self.spec,
                given=f"a chat template that writes {placeholder!r} {len(pieces) - 1} times for {len(texts)} images",
                expected="once an image",
                todo="mend chat_template.jinja in the model's folder",
            )
        prompt = pieces[0] + "".join(text + piece for text, piece in zip(texts, pieces[1:], strict=True))
        begins = self.tokenizer.bos_token is not None and prompt.startswith(str(self.tokenizer.bos_token))
        return tuple(self.tokenizer(prompt, add_special_tokens=not begins)["input_ids"])

    def reply_ids(self, text: str, spans: Sequence[Span] = ()) -> tuple[list[int], list[bool]]:
        """Canonical ids of a reply with its end token, and which of them overlap a span (see ``turn.py``)."""
        ids, marks = self._reply(text, tuple(spans))
        return list(ids), list(marks)

    @functools.cached_property
    def _reply(self) -> Callable[[str, tuple[Span, ...]], tuple[tuple[int, ...], tuple[bool, ...]]]:
        """The latest replies: a reply is read under every view, and a short answer recurs."""

        def read(text: str, spans: tuple[Span, ...]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
            ids, marks = tokenise_reply(self.tokenizer, self.turn, text, spans)
            return tuple(ids), tuple(marks)

        return functools.lru_cache(maxsize=MEMO)(read)

    def decode(self, ids: Sequence[int]) -> str:
        """A reply's text: ``decode(reply_ids(text)[0]) == text``."""
        kept = list(ids)
        if self.turn.end in kept:
            kept = kept[: kept.index(self.turn.end)]
        text = str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        return text.removeprefix(self.turn.lead)


def load_policy(spec: str, *, dtype: str = "float32", device: str = "cpu", trust_remote_code: bool = False) -> Policy:
    """The policy that ``spec`` names; ModelError where it cannot be had.

    ``tiny:NAME`` is a pretrained base shipped with medpref, ``tiny:NAME@random`` or ``tiny:NAME@random:SEED`` the same
    architecture with fresh weights; ``hf:ID``, ``hf:PATH`` or a plain path is any checkpoint that
    ``AutoModelForImageTextToText`` reads, safetensors only; a folder with ``adapter_config.json`` is its base with the
    adapter merged in, to any depth.
    """
    kind = _dtype(dtype, spec)
    if spec.startswith("tiny:") and "@" in spec:
        (model, processor), source = build_tiny(spec), spec
    else:
        named = str(base_folder(spec)) if spec.startswith("tiny:") else spec.removeprefix("hf:")
        model, processor, source = _load(named, spec, dtype=kind, trust_remote_code=trust_remote_code)
    model = model.to(device=device, dtype=kind).eval()
    model.name_or_path = model.config._name_or_path = spec if spec.startswith("tiny:") else source
    return Policy(model, processor, family_of(model.config.model_type, where=spec), spec)


def save_policy(policy: Policy, folder: Path) -> None:
    """Write model (adapter only, if wrapped in PEFT) and processor, safetensors, as transformers does."""
    with quiet():
        options = {"save_embedding_layers": False} if isinstance(policy.model, PeftModel) else {}
        policy.model.save_pretrained(str(folder), **options)
        policy.processor.save_pretrained(folder)


def _dtype(name: str, where: str) -> torch.dtype:
    value = getattr(torch, name, None)
    if not isinstance(value, torch.dtype):
        raise ModelError(where, given=f"dtype {name!r}", expected="float32, bfloat16 ...", todo="choose one")
    return value


def _load(source: str, spec: str, *, dtype: torch.dtype, trust_remote_code: bool) -> tuple[Any, StillProcessor, str]:
    """Model, processor, and the name by which an adapter may call this model its base."""
    folder = folder_of(source)
    if folder is None and not is_hub_id(source):
        raise ModelError(
            spec,
            given="no such folder",
            expected="a checkpoint folder, hf:OWNER/NAME or tiny:NAME",
            todo="check the path, or try tiny:llava-mistral",
        )
    where = source if folder is None else str(folder.resolve())
    if folder is not None and (folder / "adapter_config.json").exists():
        return *_load_adapter(folder, dtype=dtype, trust_remote_code=trust_remote_code), where
    remote = {"trust_remote_code": True} if trust_remote_code else {}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(where, **remote)
            family = family_of(config.model_type, where=spec)
            model = AutoModelForImageTextToText.from_pretrained(
                where, config=config, use_safetensors=True, dtype=dtype, **remote
            )
            processor = load_processor(where, family.fields(config), trust_remote_code=trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        raise _unusable(spec, error) from error
    return model, processor, where


def _load_adapter(folder: Path, *, dtype: torch.dtype, trust_remote_code: bool) -> tuple[Any, StillProcessor]:
    """Base and adapter merged; the base may be a tiny spec, a hub id, or a folder, itself perhaps an adapter.

    A base folder that has moved together with its adapter is looked for beside it under its old name.
    """
    base = str(read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "")
    if not base:
        todo = "write the base model's path or id there"
        raise ModelError(
            str(folder), given="an adapter that names no base", expected="base_model_name_or_path", todo=todo
        )
    if base.startswith("/") and not Path(base).is_dir():
        beside = [parent / Path(base).name for parent in folder.resolve().parents[:2]]
        base = str(next((path for path in beside if path.is_dir()), base))
    policy = load_policy(base, dtype=str(dtype).removeprefix("torch."), trust_remote_code=trust_remote_code)
    with wrapping():
        wrapped: Any = PeftModel.from_pretrained(policy.model, str(folder))
    return wrapped.merge_and_unload(safe_merge=True), policy.processor


def _unusable(spec: str, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0]
    return ModelError(
        spec,
        given=reason,
        expected="an image-text checkpoint with safetensors weights",
        todo="check the folder's files (config.json, *.safetensors, tokenizer.json, preprocessor or processor config)",
    )


def _without_place(value: Any) -> Any:
    """A configuration without what depends on where it was loaded from, by which version and in which dtype."""
    if isinstance(value, Mapping):
        return {str(key): _without_place(item) for key, item in value.items() if key not in PLACE_KEYS}
    if isinstance(value, list | tuple):
        return [_without_place(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
