"""What this machine has: packages, extras, device, memory, and whether the tiny path works end to end."""

from __future__ import annotations

import os
import shutil
import sys
import time
from importlib import metadata, util
from pathlib import Path

EXTRAS = {
    "dicom": (("pydicom", "pylibjpeg"), "reads DICOM, JPEG 2000 and JPEG lossless included"),
    "datasets": (("datasets",), "reads and writes TRL's preference format and hub data sets"),
    "judge": (("openai",), "any OpenAI-compatible service as judge or writer"),
    "metrics": (("radeval",), "RadGraph-F1, CheXbert, GREEN, RaTEScore, BERTScore of reports"),
    "retrieval": (("faiss", "open_clip"), "FAISS search and image embeddings for mining"),
    "ray": (("ray",), "curation and generation on many machines"),
}
CORE = ("torch", "transformers", "peft", "accelerate", "numpy", "pydantic")


def examine() -> tuple[list[str], bool]:
    """Lines to print, and whether the tiny path works."""
    import medpref

    lines = [f"medpref {medpref.__version__}, Python {sys.version.split()[0]}"]
    lines += [f"  {name:<14} {metadata.version(name)}" for name in CORE]
    for extra, (modules, gain) in EXTRAS.items():
        missing = [module for module in modules if util.find_spec(module) is None]
        state = "installed" if not missing else f"missing: pip install 'medpref[{extra}]' adds it"
        lines.append(f"  [{extra}] {gain}: {state}")
    lines += _machine()
    line, healthy = _tiny()
    return [*lines, line], healthy


def _machine() -> list[str]:
    import torch

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    disk = shutil.disk_usage(Path.cwd()).free / 2**30
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU only"
    if torch.cuda.is_available():
        device += f", {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB"
    return [f"  device: {device}; {os.cpu_count()} cores, {pages:.0f} GiB memory, {disk:.0f} GiB disk free"]


def _tiny() -> tuple[str, bool]:
    """Load a tiny base (random weights where none is shipped), answer one question about a grey image."""
    from PIL import Image

    from medpref.errors import MedprefError
    from medpref.models.generate import Request, generate
    from medpref.models.policy import load_policy

    began = time.perf_counter()
    try:
        from medpref.models.fingerprint import require_policy

        require_policy("tiny:llava-mistral")
        spec = "tiny:llava-mistral"
    except MedprefError:
        spec = "tiny:llava-mistral@random"
    try:
        request = Request("doctor", (Image.new("L", (96, 96), 128),), "Which view is this?")
        [[reply]] = list(generate(load_policy(spec), [request], max_new_tokens=4, seed=0))
    except (MedprefError, RuntimeError, ValueError) as error:
        return f"  tiny path: FAILS ({error})", False
    return f"  tiny path: works ({spec} answered {reply.text!r} in {time.perf_counter() - began:.1f} s)", True
