"""What a policy spec stands for, without loading it: the hash by which stages know a changed model. No torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from medpref import store
from medpref.errors import ModelError, nearest

TINY = ("llava-mistral", "llava-qwen2", "qwen2_5_vl")  # shipped pretrained; others exist with random weights only
BASES = resources.files("medpref") / "models" / "bases"


def folder_of(spec: str) -> Path | None:
    """The local folder that a spec names, ``hf:`` before it or not and ``~`` expanded; None where there is none."""
    try:
        folder = Path(spec.removeprefix("hf:")).expanduser()
    except RuntimeError:  # ~NAME of nobody on this machine
        return None
    return folder if folder.is_dir() else None


def is_hub_id(named: str) -> bool:
    """Whether a name has the form ORGANISATION/MODEL, and not that of a path.

    >>> is_hub_id("google/owlvit-base-patch32"), is_hub_id("./owlvit"), is_hub_id("owlvit")
    (True, False, False)
    """
    return named.count("/") == 1 and not named.startswith((".", "/", "~"))


def checkpoint(spec: str) -> str:
    """The absolute folder that a spec names, else its hub id; ModelError where it can be neither."""
    folder, named = folder_of(spec), spec.removeprefix("hf:")
    if folder is None and not is_hub_id(named):
        todo = "check the path, or write hf:ORGANISATION/MODEL"
        raise ModelError(spec, given="no such folder", expected="a checkpoint's folder or a hub id", todo=todo)
    return named if folder is None else str(folder.resolve())


def require_policy(spec: str) -> None:
    """Raise ModelError where a spec cannot be meant: an unknown tiny model, or a local folder that is not there."""
    kind, _, rest = spec.partition(":")
    if kind == "tiny":
        name = rest.partition("@")[0]
        if name not in TINY:
            raise ModelError(
                f"--policy {spec}", given=f"tiny model {name!r}", expected="one of ours", todo=nearest(name, TINY)
            )
        if "@" not in rest and not (BASES / name / "model.safetensors").is_file():
            raise ModelError(
                f"--policy {spec}",
                given="no shipped base",
                expected=f"models/bases/{name}",
                todo="run: make phantom-base",
            )
    elif folder_of(spec) is None and not (kind == "hf" and is_hub_id(rest)):
        raise ModelError(
            f"--policy {spec}",
            given="no such folder",
            expected="tiny:NAME, hf:ID or a checkpoint's folder",
            todo="check the path, or write hf:ORGANISATION/MODEL",
        )


def fingerprint(spec: str) -> str:
    """A hash of the spec and, where its files are local, of their names, sizes and times (contents for small files)."""
    kind, _, rest = spec.partition(":")
    shipped = kind == "tiny" and "@" not in rest
    folder = Path(str(BASES / rest)) if shipped else folder_of(spec)
    if folder is None:
        return store.digest(spec)
    files = sorted(path for path in folder.iterdir() if path.suffix in {".json", ".safetensors", ".jinja", ".model"})
    return store.digest([[path.name, _mark(path)] for path in files])


def _mark(path: Path) -> str:
    """A file's content hash where that is quick (under 64 MiB), else its size and time."""
    status = path.stat()
    if status.st_size < 64 * 2**20:
        return store.file_digest(path)
    return f"{status.st_size}-{status.st_mtime_ns}"
