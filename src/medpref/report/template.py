"""The page's templates and the files that are inlined into it, from the package's ``templates`` folder."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import jinja2

from medpref.report import words

FOLDER = "templates"


@functools.cache
def environment() -> jinja2.Environment:
    """The templates: HTML is escaped, a missing variable is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("medpref.report", FOLDER),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=words.number, model=words.model_label, words=words.sentence)
    return made


def render(template: str, /, **context: Any) -> str:
    """A template filled in."""
    return environment().get_template(template).render(**context)


@functools.cache
def source_of(name: str) -> str:
    """A file of the templates folder, as it is."""
    return (resources.files("medpref.report") / FOLDER / name).read_text(encoding="utf-8")
