"""Image features on disk, content addressed and memory-mapped: one safetensors file a study."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from medpref.store import digest


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the bytes, shapes and dtypes of tensors, in order."""
    state = hashlib.sha256()
    for tensor in tensors:
        whole = tensor.detach().contiguous().cpu()
        state.update(f"{whole.dtype}{tuple(whole.shape)}".encode())
        state.update(whole.flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()


class FeatureFiles:
    """A folder of features: ``KEY/xx/STUDY.safetensors``; a file is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def _path(self, key: str, study: tuple[str, ...]) -> Path:
        name = digest(list(study))
        return self.folder / key[:32] / name[:2] / f"{name}.safetensors"

    def read(self, key: str, study: tuple[str, ...]) -> Tensor | None:
        """The features (pages of the file are read when touched), or None where they were never written."""
        path = self._path(key, study)
        if not path.exists():
            return None
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return file.get_tensor("features")

    def write(self, key: str, study: tuple[str, ...], features: Tensor) -> None:
        path = self._path(key, study)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        save_file({"features": features.contiguous()}, str(scratch))
        scratch.replace(path)
