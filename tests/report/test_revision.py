"""The page of an unchanged run: kept while the code that makes it is the same, made again where it is another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import medpref
from medpref.report.page import PAGE
from medpref.report.revision import revision
from medpref.stages import report_stage
from tests.report.run_folder import build_run

FOLDER = Path(medpref.__file__).parent / "report"


@pytest.mark.parametrize(
    "name", ["page.py", "templates/page.html.j2", "templates/style.css", "templates/script/dom.js"]
)
def test_every_part_of_the_page_counts(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "report"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = revision(copy)
    assert before == revision(), "neither the place nor what Python caches there counts"
    with open(copy / name, "a") as file:
        file.write("\n")
    revision.cache_clear()
    assert revision(copy) != before


def test_the_version_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = revision()
    monkeypatch.setattr(medpref, "__version__", "9.9.9")
    revision.cache_clear()
    assert revision() != before
    monkeypatch.undo()
    revision.cache_clear()
    assert revision() == before


def test_an_unchanged_run_has_its_page_made_again_by_another_medpref(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = build_run(tmp_path, studies=6, pairs=2)

    def made() -> bool:
        return not report_stage(root, inputs={"compare": "c"}, arms=[])["skipped"]

    assert [made(), made()] == [True, False]
    (root / "report" / PAGE).write_text("an older page")
    monkeypatch.setattr("medpref.report.revision.revision", lambda: "another")
    assert [made(), made()] == [True, False]
    assert "<html" in (root / "report" / PAGE).read_text()
