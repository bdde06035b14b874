"""What the numbers were measured on: hardware, versions, load, and the matrix products' own rate."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from measure.rounds import synchronise

PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl")


def describe(device: str) -> dict[str, Any]:
    """Hardware, threads, versions and load average, JSON-able."""
    named = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cuda = device == "cuda"
    return {
        "cpu": named[0].partition(":")[2].strip() if named else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(pages / 2**30, 1),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(0) if cuda else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def product_rate(device: str, dtype: torch.dtype, *, size: int) -> float:
    """FLOP/s of one square matrix product, the best of five: what this machine can reach at all."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(5):
        synchronise()
        began = time.perf_counter()
        left @ right
        synchronise()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)
