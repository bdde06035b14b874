"""A run of many models: names whole, nothing wider than the page, numbers where a reader finds them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from medpref import store
from medpref.report.contrast import contrasts, matrix
from medpref.report.lines import Line, charts
from medpref.report.page import colours, write_report
from medpref.report.read import read_head
from medpref.report.words import number
from tests.report.browser import PHONE, ask, needs_axe, needs_chromium, open_page, violations

NAMES = tuple(f"mmedpo_without_this_and_that_{letter}" for letter in "abcdefgh")


@pytest.fixture(scope="module")
def many_root(run_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many") / "run"
    shutil.copytree(run_root, root)
    summary = store.read_json(root / "summary.json")
    held = [one for one in summary["comparisons"] if (one["a"], one["b"]) == ("mmedpo", "mmedpo_sft_control")]
    assert held
    for name in NAMES:
        shutil.copytree(root / "eval" / "mmedpo", root / "eval" / name)
        summary["comparisons"] += [{**one, "a": name} for one in held]
    store.write_json(root / "summary.json", summary)
    return root


@pytest.fixture(scope="module")
def many_page(many_root: Path) -> Path:
    write_report(many_root, many_root.parent / "out")
    return many_root.parent / "out" / "index.html"


def _section(page: Path, name: str) -> str:
    return page.read_text(encoding="utf-8").partition(f'id="{name}"')[2].partition(f'aria-labelledby="h-{name}"')[2]


def test_every_finding_of_every_recipe_is_in_one_table(many_root: Path, many_page: Path) -> None:
    against = [held for held in contrasts(read_head(many_root)) if held.against_control]
    text = _section(many_page, "findings").partition("</section>")[0]
    assert text.count('<tr><th scope="row">') == len(against) == len(NAMES) + 2
    for contrast, rows in matrix(against).rows:
        assert contrast.a in text
        for row in filter(None, rows):
            assert f'{row.shown} <span class="outcome {row.outcome}">' in text
            assert row.interval in text


def test_models_are_rows_and_keep_their_numbers(many_root: Path, many_page: Path) -> None:
    text = _section(many_page, "results").partition('id="differences"')[0]
    table = text[text.index("listed, not ranked") :].partition("</table>")[0]
    run = read_head(many_root)
    assert table.count('<th scope="row">') == len(run.models)
    lines = dict(zip((model.name for model in run.models), table.split("<tr>")[2:], strict=True))
    for model in run.models:
        (held,) = [m for m in model.measures if (m.metric, m.kind, m.slice) == ("overall_accuracy", "all", "all")]
        value, low, high = (number(end, percent=True) for end in (held.value, held.low, held.high))
        assert f'{value}<span class="ci">{low} to {high}</span>' in lines[model.name]


def test_names_are_whole_in_the_forest_plots(many_page: Path) -> None:
    labels = re.findall(r'<text class="lab"[^>]*>([^<]+)</text>', many_page.read_text(encoding="utf-8"))
    assert set(NAMES) < set(labels)
    assert not [label for label in labels if label.endswith("…")]


def test_colours_of_many_recipes_mean_roles_and_are_explained(many_root: Path, many_page: Path) -> None:
    run = read_head(many_root)
    assert set(colours(run)) == {0, 1, 2, 3}
    results = _section(many_page, "results")
    for role in ("base", "SFT", "matched control", "recipe"):
        assert f"</span>{role}</li>" in results


def test_curves_that_are_compared_have_one_scale() -> None:
    lines = [Line(f"m{n}", [0, 1], [0.0, 10.0 if n == 5 else 1.0]) for n in range(6)]
    found = charts("Error", lines, x_label="x")
    assert [panel.title for panel in found] == ["Error (1 of 2)", "Error (2 of 2)"]
    ticks = [re.findall(r'text-anchor="end">([^<]+)<', panel.figure) for panel in found]
    assert ticks[0] == ticks[1]


@needs_chromium
def test_models_that_reply_alike_share_a_row(many_page: Path, tmp_path: Path) -> None:
    steps = """
      dispatchEvent(new Event('beforeprint'));
      await wait(50);
      const first = document.querySelector('#wrong-browser article');
      const { models, entries } = data('wrong');
      const rows = [...first.querySelectorAll('tbody tr')];
      return { rows: rows.map((row) => row.querySelectorAll('.name').length), models: models.length,
        said: new Set(entries[0].replies.map((reply) => JSON.stringify(reply))).size };"""
    shown = many_page.read_text(encoding="utf-8")
    copy = tmp_path / "open.html"
    copy.write_text(
        re.sub(
            r"<script>\(\(\) => \{\n'use strict';\n(.*?)\}\)\(\);</script>",
            r"<script>\1</script>",
            shown,
            flags=re.DOTALL,
        )
    )
    found = ask(copy, tmp_path, steps)
    assert sum(found["rows"]) == found["models"] == len(NAMES) + 5
    assert len(found["rows"]) == found["said"]


@needs_chromium
@pytest.mark.parametrize("width", [1280, PHONE])
def test_nothing_is_cut_at_any_width(many_page: Path, tmp_path: Path, width: int) -> None:
    steps = """
      dispatchEvent(new Event('beforeprint'));
      await wait(50);
      const out = (label) => { const box = label.getBBox(); return box.x < 0; };
      return { wide: document.documentElement.scrollWidth, screen: innerWidth,
        cut: all('svg.fig text.lab').filter(out).map((label) => label.textContent),
        over: all('.item').filter((item) => item.scrollWidth > item.clientWidth + 1).length };"""
    found = ask(many_page, tmp_path, steps, width=width)
    assert found["screen"] == width
    assert found["wide"] <= width
    assert found["cut"] == []
    assert found["over"] == 0


@needs_chromium
def test_the_log_is_empty(many_page: Path, tmp_path: Path) -> None:
    _, log = open_page(many_page, tmp_path, anchor="#wrong/base")
    assert "CONSOLE" not in log


@needs_chromium
@needs_axe
def test_axe_finds_no_violation(many_page: Path, tmp_path: Path) -> None:
    assert violations(many_page, tmp_path) == []
