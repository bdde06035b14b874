"""Writes the README's tables that follow from the code: recipes, and the file map with a line a file."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "medpref"


def first_line(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].rstrip(".") if text else ""


def file_map() -> str:
    """Markdown: one list a package, one line a file."""
    parts = []
    folders = sorted({path.parent for path in PACKAGE.rglob("*.py")}, key=lambda folder: folder != PACKAGE)
    for folder in [PACKAGE, *sorted(set(folders) - {PACKAGE})]:
        name = folder.relative_to(PACKAGE.parent).as_posix()
        intro = first_line(folder / "__init__.py") if (folder / "__init__.py").exists() else ""
        parts.append(f"**`{name}/`** {intro}\n")
        files = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
        parts += [f"- `{path.name}` {first_line(path)}" for path in files]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def recipe_table() -> str:
    """Markdown: the shipped recipes."""
    from medpref.recipe import load_recipe, shipped

    rows = ["| recipe | paper | what it is |", "| --- | --- | --- |"]
    for name in shipped():
        recipe = load_recipe(name)
        rows.append(f"| `{name}` | {recipe.paper} | {recipe.summary} |")
    return "\n".join(rows) + "\n"


def filled(text: str) -> str:
    """The README with both generated parts brought up to date."""
    for name, made in (("recipes", recipe_table()), ("files", file_map())):
        before, start, rest = text.partition(f"<!-- {name}: made by docs/make_file_map.py -->\n")
        _, end, after = rest.partition(f"<!-- end {name} -->")
        text = before + start + made + end + after
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    held = readme.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit(held != filled(held))
    readme.write_text(filled(held), encoding="utf-8")
