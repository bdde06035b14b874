"""The page in a browser: it draws its galleries, answers keys and links, asks for nothing and complains of nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medpref.report.page import write_report
from tests.report.browser import PHONE, ask, needs_axe, needs_chromium, open_page, violations
from tests.report.run_folder import build_run


@needs_chromium
def test_a_link_opens_the_wrong_answers_of_one_model_and_type(page: Path, tmp_path: Path) -> None:
    """The page itself, under its content policy: the browser draws, the log holds no complaint."""
    dom, log = open_page(page, tmp_path, anchor="#wrong/base/side")
    assert "CONSOLE" not in log
    shown = dom[dom.index('id="wrong-browser"') :]
    kinds = re.findall(r"<h3><b>([^<]+)</b> · phantom/\d+/(\w+)", shown)
    assert kinds
    assert set(kinds) == {("side", "side")}
    rows = re.findall(r'<tr class="picked">.*?</tr>', shown, flags=re.DOTALL)
    assert len(rows) == len(kinds)
    assert all("wrong" in row for row in rows)


@needs_chromium
def test_the_gallery_draws_pairs_and_answers_keys(page: Path, tmp_path: Path) -> None:
    steps = """
      const before = all('article').length;
      dispatchEvent(new Event('beforeprint'));
      const status = () => document.querySelector('#pair-browser .status').textContent;
      const at = () => all('#pair-browser article').indexOf(document.activeElement);
      const first = all('#pair-browser article')[0];
      const out = { before, shown: all('#pair-browser article').length, begin: status(),
        images: first.querySelectorAll('image').length, outlines: first.querySelectorAll('path.outline').length,
        marks: [...first.querySelectorAll('mark')].map((m) => m.className), order: [] };
      first.focus();
      for (const name of ['ArrowRight', 'ArrowRight', 'ArrowLeft', 'End', 'ArrowRight', 'Home', 'ArrowLeft']) {
        key(name); out.order.push([name, at(), status()]);
      }
      for (let i = 0; i < 6; i++) key('ArrowRight');
      out.turned = [at(), status()];
      const select = document.querySelectorAll('#pair-browser select')[0];
      select.value = 'fire_mpo'; select.dispatchEvent(new Event('change'));
      out.filtered = status();
      const find = document.querySelector('#pair-browser input[type=search]');
      find.value = 'no such text'; find.dispatchEvent(new Event('input'));
      out.none = [status(), all('#pair-browser article').length];
      return out;"""
    found = ask(page, tmp_path, steps)
    assert found["before"] == 0
    assert found["shown"] == 6
    assert found["begin"] == "1 to 6 of 20"
    assert found["images"] == 3
    assert found["outlines"] == 2
    assert set(found["marks"]) == {"chosen", "rejected"}
    assert [place for _, place, _ in found["order"]] == [1, 2, 1, 1, 1, 0, 0]
    assert found["order"][3][2] == "19 to 20 of 20"
    assert found["turned"] == [0, "7 to 12 of 20"]
    assert found["filtered"] == "1 to 6 of 10"
    assert found["none"] == ["Nothing matches", 0]


@needs_chromium
def test_maps_lie_over_the_image_of_a_wrong_answer(page: Path, tmp_path: Path) -> None:
    steps = """
      dispatchEvent(new Event('beforeprint'));
      await wait(50);
      const maps = document.querySelector('#wrong-browser details.maps');
      maps.open = true;
      const figures = [...maps.querySelectorAll('figure')];
      const [first] = figures;
      const over = [...first.querySelectorAll('image')];
      return { said: maps.querySelector('summary').textContent, figures: figures.length, images: over.length,
        caption: first.querySelector('figcaption').textContent,
        spoken: first.querySelector('svg').getAttribute('aria-label'),
        shape: over[1].getAttribute('href').slice(0, 15),
        same: over[0].getAttribute('width') === over[1].getAttribute('width') };"""
    found = ask(page, tmp_path, steps, anchor="#wrong")
    assert found["said"] == f"Where the models that were wrong looked ({found['figures']} maps)"
    assert found["figures"] % 2 == 0
    assert found["images"] == 2
    assert found["same"]
    assert found["shape"] == "data:image/png;"
    model = found["caption"].removesuffix(" · attention")
    assert found["spoken"].startswith(f"attention of {model} over the image, outlined: ")


@needs_chromium
def test_a_phone_needs_no_sideways_scrolling(page: Path, tmp_path: Path) -> None:
    steps = """
      all('details').forEach((one) => { one.open = true; });
      dispatchEvent(new Event('beforeprint'));
      await wait(50);
      return { wide: document.documentElement.scrollWidth, screen: innerWidth,
        drawn: all('#pair-browser article').length + all('#wrong-browser article').length,
        small: all('button, select, input').filter((one) => one.getBoundingClientRect().height < 13).length };"""
    found = ask(page, tmp_path, steps, width=PHONE)
    assert found["wide"] <= found["screen"]
    assert found["drawn"] == 11
    assert found["small"] == 0


@pytest.mark.slow
@needs_chromium
def test_five_thousand_pairs_are_laid_out_within_two_seconds(tmp_path: Path) -> None:
    """In real time: milliseconds from the start of loading until everything is parsed and laid out."""
    root = build_run(tmp_path / "run", studies=60, pairs=2500, side=48)
    counts = write_report(root, tmp_path / "out")
    assert counts["pairs"] == 5000
    assert counts["bytes"] < 8_000_000
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    watch = "document.title = [document.body.offsetHeight, performance.now()].join();"
    copy = tmp_path / "copy.html"
    script = f"<script>addEventListener('load', () => {{ {watch} }});</script>"
    copy.write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    dom, _ = open_page(copy, tmp_path, clock=())
    found = re.search(r"<title>([\d.]+),([\d.]+)</title>", dom)
    assert found is not None
    assert float(found[1]) > 3000
    assert float(found[2]) < 2000


@needs_chromium
@needs_axe
@pytest.mark.parametrize("width", [1280, PHONE])
def test_axe_finds_no_violation(page: Path, tmp_path: Path, width: int) -> None:
    assert violations(page, tmp_path, width=width) == []
