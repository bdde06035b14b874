"""The prompts that language models are sent, as files: the shipped ones in ``prompts/``, or a user's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from medpref.errors import RecipeError, nearest

SUFFIX = ".jinja"
EVALUATION = ("facts",)


@dataclass(frozen=True)
class Template:
    """A prompt in Jinja's language; ``label`` (name and hash of the wording) goes into provenance."""

    name: str
    text: str
    place: str

    @property
    def label(self) -> str:
        return f"{self.name}@{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"

    def fill(self, **values: object) -> str:
        """The prompt with its places filled (a value is never read as Jinja); RecipeError names a place without one."""
        from jinja2 import StrictUndefined, TemplateError
        from jinja2.sandbox import SandboxedEnvironment

        frame = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            return frame.from_string(self.text).render(**values).strip()
        except TemplateError as error:
            expected = f"a Jinja template over {', '.join(sorted(values))}"
            raise RecipeError(self.place, given=str(error), expected=expected, todo="mend the prompt") from None


def load_template(name: str, folder: Path | None = None) -> Template:
    """The prompt of a name: from the user's folder if it lies there, else the shipped one."""
    own = folder / f"{name}{SUFFIX}" if folder is not None else None
    if own is not None and own.is_file():
        return Template(name, own.read_text(encoding="utf-8"), str(own))
    file = resources.files("medpref") / "language" / "prompts" / f"{name}{SUFFIX}"
    return Template(name, file.read_text(encoding="utf-8"), f"prompt {name}")


def shipped_templates() -> list[str]:
    """The names of the shipped prompts."""
    folder = resources.files("medpref") / "language" / "prompts"
    return sorted(item.name.removesuffix(SUFFIX) for item in folder.iterdir() if item.name.endswith(SUFFIX))


def check_folder(folder: Path) -> None:
    """Raise RecipeError where a folder of prompts is not there, or a file in it stands for no prompt of ours."""
    if not folder.is_dir():
        raise RecipeError(f"--prompts {folder}", given="no such folder", expected="a folder", todo="check the path")
    known = shipped_templates()
    names = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    for name in names:
        if name not in known:
            given = f"{name}{SUFFIX}"
            raise RecipeError(f"--prompts {folder}", given=given, expected="our names", todo=nearest(name, known))
    if not names:
        expected = f"files such as {known[0]}{SUFFIX}"
        raise RecipeError(f"--prompts {folder}", given="no prompt in it", expected=expected, todo="add one")


def labels(folder: Path | None = None) -> list[str]:
    """Name and hash of every prompt of curation, as it would be used."""
    return [load_template(name, folder).label for name in shipped_templates() if name not in EVALUATION]
