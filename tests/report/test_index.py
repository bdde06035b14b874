"""The index lists every run once, with a link that works and the numbers of its report."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from medpref import store
from medpref.errors import ArtifactError
from medpref.report.index import find_runs, write_index
from medpref.report.page import write_report


@pytest.fixture
def runs(tmp_path: Path, run_root: Path) -> Path:
    for name in ("a", "group/b"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        for file in ("run.json", "summary.json"):
            shutil.copy(run_root / file, folder)
    write_report(run_root, tmp_path / "runs" / "a" / "report")
    return tmp_path / "runs"


def test_every_run_is_listed_with_its_link(runs: Path) -> None:
    assert write_index(runs, runs)["runs"] == 2
    text = (runs / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', text)
    assert links == [("a/report/index.html", "a")]
    assert (runs / links[0][0]).exists()
    assert "no report yet" in text
    assert "Not for clinical use." in text
    assert text.count("<tr>") == 3


def test_the_index_may_lie_elsewhere(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "pages" / "index"
    write_index(runs, out)
    (link,) = re.findall(r'<a href="([^"]+)">', (out / "index.html").read_text(encoding="utf-8"))
    assert (out / link).resolve() == (runs / "a" / "report" / "index.html").resolve()


def test_the_inside_of_a_run_is_not_searched(runs: Path) -> None:
    store.write_json(runs / "a" / "old" / "run.json", {})
    assert [path.name for path in find_runs(runs)] == ["a", "b"]


def test_a_run_without_results_is_still_listed(tmp_path: Path) -> None:
    store.write_json(tmp_path / "x" / "run.json", {"recipes": ["dpo"], "source": "phantom"})
    write_index(tmp_path, tmp_path)
    assert "dpo on phantom" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_nothing_to_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected run folders"):
        write_index(tmp_path, tmp_path)
