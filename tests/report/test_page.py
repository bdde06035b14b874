"""The page: whole, self-contained, harmless, the same every time, and the run folder as it was."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from medpref import store
from medpref.report.page import RiskCurves, colours, write_report
from medpref.report.template import source_of
from medpref.report.values import Run
from medpref.report.words import number
from tests.report.packed import data_of

VOID = {"meta", "link", "input", "br", "img", "hr"}
HOSTILE = "</script><script>window.harmed=1</script><img src=x onerror=alert(1)>"


class Outline(HTMLParser):
    """Elements of a page: tags that do not close, ids, headings, references and labels."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.levels: list[int] = []
        self.references: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.attributes.append((tag, held))
        self.ids += [held["id"]] if held.get("id") else []
        self.levels += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.references += [value for key in ("src", "href", "action", "data", "poster") if (value := held.get(key))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _digests(root: Path) -> dict[str, str]:
    return {str(path): store.file_digest(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_reading_changes_nothing_and_writing_is_repeatable(
    run_root: Path, page: Path, curves: RiskCurves, tmp_path: Path
) -> None:
    before = _digests(run_root)
    counts = write_report(run_root, tmp_path, curves=curves)
    assert _digests(run_root) == before
    assert (tmp_path / "index.html").read_bytes() == page.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert counts["bytes"] == page.stat().st_size < 8_000_000
    assert counts["models"] == 5
    assert counts["pairs"] == 20


def test_the_page_is_well_formed_and_points_nowhere(page: Path) -> None:
    held = Outline(page.read_text(encoding="utf-8"))
    assert held.open == []
    assert len(set(held.ids)) == len(held.ids)
    assert all(reference.startswith(("#", "data:")) for reference in held.references)
    anchors = {ref[1:] for ref in held.references if ref.startswith("#") and "/" not in ref}
    assert anchors <= set(held.ids)


def test_headings_skip_no_level_and_tables_have_heads(page: Path) -> None:
    held = Outline(page.read_text(encoding="utf-8"))
    assert held.levels[0] == 1
    assert held.levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(held.levels, held.levels[1:], strict=False))
    assert all("scope" in attributes for tag, attributes in held.attributes if tag == "th")
    tags = [tag for tag, _ in held.attributes]
    assert tags.count("caption") == tags.count("table") > 10
    assert all("aria-label" in a or "aria-hidden" in a for tag, a in held.attributes if tag == "svg")


def test_only_the_page_s_own_script_may_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].replace("&#39;", "'").split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    assert "connect-src" not in rules


def test_every_headline_number_of_the_estimates_is_on_the_page(page: Path, run: Run) -> None:
    text = page.read_text(encoding="utf-8")
    for model in run.models:
        for held in model.measures:
            if held.metric == "overall_accuracy" and held.slice == "all":
                value, low, high = (number(x, percent=True) for x in (held.value, held.low, held.high))
                assert f'{value}<span class="ci">{low} to {high}</span>' in text


def test_the_banner_is_there(page: Path, run_root: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    synthetic = "Synthetic phantom data: these numbers say nothing about clinical performance."
    assert "Not for clinical use." in text
    assert synthetic in text
    shutil.copytree(run_root / "eval" / "base", tmp_path / "eval" / "base")
    store.write_json(tmp_path / "summary.json", {"synthetic": False, "source": "pack:x", "recipe": "dpo"})
    write_report(tmp_path, tmp_path / "out")
    real = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Not for clinical use." in real
    assert synthetic not in real


def test_a_run_with_pairs_only_can_be_looked_at(tmp_path: Path, run_root: Path) -> None:
    for folder in ("examples", "pairs"):
        shutil.copytree(run_root / folder, tmp_path / folder)
    shutil.copy(run_root / "run.json", tmp_path)
    counts = write_report(tmp_path, tmp_path / "look")
    text = (tmp_path / "look" / "index.html").read_text(encoding="utf-8")
    assert counts["pairs"] == 20
    assert counts["models"] == 0
    assert "No model has been evaluated yet." in text
    assert "Nothing has been trained yet." in text
    assert Outline(text).open == []


def test_what_a_model_says_stays_text(tmp_path: Path, run_root: Path) -> None:
    for folder in ("examples", "eval", "pairs"):
        shutil.copytree(run_root / folder, tmp_path / folder)
    shutil.copy(run_root / "run.json", tmp_path)
    path = tmp_path / "eval" / "sft" / "replies.jsonl"
    rows = [{**row, "text": HOSTILE} for _, row in store.iter_lines(path)]
    store.write_lines(path, rows)
    summary = store.read_json(run_root / "summary.json")
    store.write_json(tmp_path / "summary.json", {**summary, "source": HOSTILE})
    write_report(tmp_path, tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<script>window" not in text
    assert "<img" not in text
    wrong = data_of(tmp_path / "out" / "index.html", "wrong")
    said = {entry["replies"][1][0] for entry in wrong["entries"] if entry["replies"][1]}
    assert said == {HOSTILE}


def test_recipes_and_controls_have_colours_of_their_own(run: Run) -> None:
    assert colours(run) == [0, 3, 2, 1, 4]


def test_alarms_that_models_share_are_listed_once(page: Path) -> None:
    text = page.read_text(encoding="utf-8").partition('id="alarms"')[2].partition("</section>")[0]
    assert text.count("no test image occurs in train") == 1
    assert "all models" in text
    warnings, _, quiet = text.partition("<details>")
    assert re.findall(r"<td>([^<]+)</td>", warnings) == ["Base"]
    assert "SFT, Control (mmedpo), mmedpo, fire_mpo" in quiet


def test_stages_are_listed_as_they_run(page: Path) -> None:
    cost = page.read_text(encoding="utf-8").partition('id="cost"')[2]
    stages = re.findall(r'<th scope="row">([^<]+)</th>', cost)
    assert stages[:3] == ["examples", "train/sft", "replies"]
    assert stages.index("pairs/mmedpo") < stages.index("train/fire_mpo")


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_have_the_contrast_that_wcag_asks_for(scheme: int) -> None:
    """4.5 to 1 for text, 3 to 1 for lines and marks (WCAG 2.2, 1.4.3 and 1.4.11), light and dark."""
    blocks = re.findall(r":root \{(.*?)\}", source_of("style.css"), flags=re.DOTALL)
    held = {
        name: value if len(value) == 7 else "#" + "".join(2 * letter for letter in value[1:])
        for name, value in re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", blocks[scheme])
    }
    for text in ("ink", "soft", "accent", "good", "bad"):
        assert _contrast(held[text], held["bg"]) >= 4.5
        assert _contrast(held[text], held["panel"]) >= 4.5
    assert _contrast(held["warn"], held["warn-bg"]) >= 4.5
    for mark in ("mark-chosen", "mark-rejected"):
        assert _contrast(held["ink"], held[mark]) >= 4.5
    for series in range(6):
        assert _contrast(held[f"s{series}"], held["bg"]) >= 3
