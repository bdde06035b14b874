"""Image processor, tokenizer and chat template of a checkpoint, without its video half.

transformers' processors of video-capable families cannot be built without torchvision, and pick a torchvision image
back end where they can. Images are enough for us, so every checkpoint is read into one ``StillProcessor`` with the
PIL image processor: the same pixels on every machine. What is saved is an ordinary processor folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file

EXTRAS = ("processor_config.json", "video_preprocessor_config.json")


@dataclass(eq=False)
class StillProcessor:
    """Turns images and text into tensors; ``fields`` are the rest of ``processor_config.json``."""

    image_processor: Any
    tokenizer: PreTrainedTokenizerBase
    chat_template: str | None
    fields: dict[str, Any] = field(default_factory=dict)
    video: dict[str, Any] | None = None

    @property
    def image_token(self) -> str:
        """The image placeholder's text."""
        held = getattr(self.tokenizer, "image_token", None) or self.fields.get("image_token")
        return held or ("<|image_pad|>" if "<|image_pad|>" in self.tokenizer.get_vocab() else "<image>")

    @property
    def patch_size(self) -> int:
        return int(self.fields["patch_size"])

    def save_pretrained(self, folder: str | Path) -> None:
        """Write tokenizer, chat template and ``processor_config.json`` as transformers' own processors do."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(str(path))
        if self.chat_template is not None:
            (path / "chat_template.jinja").write_text(self.chat_template, encoding="utf-8")
        config = {**self.fields, "image_processor": json.loads(self.image_processor.to_json_string())}
        (path / "processor_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        if self.video is not None:
            (path / EXTRAS[1]).write_text(json.dumps(self.video, indent=2, sort_keys=True) + "\n")


def load_processor(source: str, derived: Mapping[str, Any], *, trust_remote_code: bool = False) -> StillProcessor:
    """The processor of a checkpoint folder or hub id; ``derived`` fields follow from the model and win."""
    remote = {"trust_remote_code": True} if trust_remote_code else {}
    image_processor = AutoImageProcessor.from_pretrained(source, backend="pil", **remote)
    tokenizer = AutoTokenizer.from_pretrained(source, **remote)
    fields = _json(source, EXTRAS[0]) or {}
    fields.pop("image_processor", None)
    template = _text(source, "chat_template.jinja") or fields.pop("chat_template", None)
    template = template or (_json(source, "chat_template.json") or {}).get("chat_template") or tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    video = _json(source, EXTRAS[1])
    return StillProcessor(image_processor, tokenizer, template, fields={**fields, **derived}, video=video)


def _text(source: str, name: str) -> str | None:
    path = cached_file(
        source, name, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False
    )
    return None if path is None else Path(path).read_text(encoding="utf-8")


def _json(source: str, name: str) -> dict[str, Any] | None:
    text = _text(source, name)
    return None if text is None else json.loads(text)
