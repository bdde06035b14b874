"""Plugins: a user's Python file whose import registers components."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from medpref.errors import RecipeError


def load_plugin(file: Path) -> None:
    """Import a plugin file under a name of its own; RecipeError where it is missing or is no Python file."""
    if not (file.is_file() and file.suffix == ".py"):
        raise RecipeError(f"--plugin {file}", given="no such Python file", expected="a .py file", todo="check the path")
    name = f"medpref_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
