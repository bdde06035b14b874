"""Where image features are kept: in memory up to a budget, and on disk, content addressed and memory-mapped."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from medpref.store import digest

Study = tuple[str, ...]
FEATURES = "features"
PLACE = ("_name_or_path", "transformers_version")


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the bytes, shapes and dtypes of tensors, in order."""
    state = hashlib.sha256()
    for tensor in tensors:
        whole = tensor.detach().contiguous().cpu()
        state.update(f"{whole.dtype}{tuple(whole.shape)}".encode())
        state.update(whole.flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()


def config_text(config: Any) -> str:
    """A model's configuration as text, without where it was loaded from and by which version."""
    fields = {key: value for key, value in config.to_dict().items() if key not in PLACE}
    return json.dumps(fields, sort_keys=True, default=str)


class Budgeted:
    """Tensors by study, the least recently used dropped when they exceed ``limit_bytes`` (the newest always stays)."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.held_bytes = limit_bytes, 0
        self._held: OrderedDict[Study, dict[str, Tensor]] = OrderedDict()

    def get(self, study: Study) -> dict[str, Tensor] | None:
        if study in self._held:
            self._held.move_to_end(study)
        return self._held.get(study)

    def put(self, study: Study, tensors: dict[str, Tensor]) -> None:
        self._held[study] = tensors
        self.held_bytes += _bytes(tensors)
        while self.held_bytes > self.limit_bytes and len(self._held) > 1:
            self.held_bytes -= _bytes(self._held.popitem(last=False)[1])


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(value.numel() * value.element_size() for value in tensors.values())


class FeatureFiles:
    """A folder of features: ``KEY/xx/STUDY.safetensors``; a file is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def _path(self, key: str, study: Study) -> Path:
        name = digest(list(study))
        return self.folder / key[:32] / name[:2] / f"{name}.safetensors"

    def read(self, key: str, study: Study) -> Tensor | None:
        """The features (pages of the file are read when touched), or None where they were never written."""
        path = self._path(key, study)
        if not path.exists():
            return None
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return file.get_tensor("features")

    def write(self, key: str, study: Study, features: Tensor) -> None:
        path = self._path(key, study)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        save_file({"features": features.contiguous()}, str(scratch))
        scratch.replace(path)
