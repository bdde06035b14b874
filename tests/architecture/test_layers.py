"""Who may import whom, how large a file may be, and what `import medpref` may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "medpref"
BASE = {"schema", "recipe", "seeds", "store", "errors", "registry", "progress", "arrow"}
ALLOWED = {
    "imaging": BASE,
    "language": BASE,
    "sources": BASE | {"imaging"},
    "objectives": BASE,
    "models": BASE,
    "judging": BASE | {"language", "imaging", "models"},
    "engine": BASE | {"models", "objectives", "imaging"},
    "curation": BASE | {"imaging", "language", "models", "judging"},
    "training": BASE | {"models", "engine", "objectives"},
    "evaluation": BASE | {"imaging", "language", "models", "judging", "engine", "objectives"},
    "report": BASE,
    "interop": BASE | {"models"},
}
NO_TORCH = {"sources", "imaging", "language", "report"} | BASE


def imports(path: Path) -> set[str]:
    """Dotted names a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def files(package: str) -> list[Path]:
    folder = PACKAGE / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{package}.py"]


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    for path in files(package):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "medpref" and len(parts) > 1:
                assert parts[1] in ALLOWED[package] | {package, "__version__"}, f"{path.name} imports {name}"


@pytest.mark.parametrize("module", sorted(BASE))
def test_base_imports_only_base(module: str) -> None:
    for name in imports(PACKAGE / f"{module}.py"):
        parts = name.split(".")
        if parts[0] == "medpref" and len(parts) > 1:
            assert parts[1] in BASE | {"__version__"}, f"{module} imports {name}"


@pytest.mark.parametrize("package", sorted(NO_TORCH))
def test_light_packages_do_not_import_torch(package: str) -> None:
    for path in files(package):
        assert not {name for name in imports(path) if name.split(".")[0] in {"torch", "transformers", "peft"}}, path


def test_files_are_small() -> None:
    long = {path.name: n for path in PACKAGE.rglob("*.py") if (n := len(path.read_text().splitlines())) > 300}
    assert not long, f"over 300 lines: {long}"


def test_import_loads_no_torch() -> None:
    code = "import sys, medpref, medpref.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_file_is_named_for_nothing() -> None:
    vague = {"utils", "helpers", "common", "misc", "base"}
    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in vague]
