"""docs/data.md says what the code does: every source, every command, every format."""

import re
from pathlib import Path

import pytest

from medpref.interop.convert import FORMATS, parse_spec
from medpref.registry import SOURCES
from medpref.run import parse_source

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
SPECS = sorted(
    {
        *re.findall(r"--source ([^\s`]+)", PAGE),
        *(spec for kind in SOURCES.classes() for spec in re.findall(rf"`({kind}:[^`\s]+)`", PAGE)),
    }
)


def test_every_source_has_its_section_and_its_row() -> None:
    for kind in SOURCES.classes():
        assert f"\n## {kind}\n" in PAGE, kind
        assert f"| [`{kind}`](#{kind})" in PAGE, kind


@pytest.mark.parametrize("spec", SPECS)
def test_every_source_named_on_the_page_is_understood(spec: str) -> None:
    assert parse_source(spec).kind == spec.partition(":")[0]


def test_the_page_names_a_command_for_every_source_and_every_format() -> None:
    assert {spec.partition(":")[0] for spec in SPECS} == set(SOURCES.classes())
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)) == set(FORMATS)
    commands = re.findall(r"^medpref convert (\S+) (\S+)", PAGE, flags=re.MULTILINE)
    assert len(commands) == 3
    for source, target in commands:
        assert parse_spec(source)[0] in FORMATS
        assert parse_spec(target)[0] in FORMATS
