"""A page in headless Chromium: its elements, its log, and what JavaScript says of it.

Needs chromium (on the path, or ``MEDPREF_CHROMIUM``); the accessibility check needs axe-core (``MEDPREF_AXE``, the path
of axe.min.js). A browser's window is at least 500 pixels wide, so a phone's width is that of a frame.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("MEDPREF_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
AXE = os.environ.get("MEDPREF_AXE", "")
needs_axe = pytest.mark.skipif(not Path(AXE).is_file(), reason="MEDPREF_AXE does not name axe.min.js")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --enable-logging=stderr --dump-dom"
)
VIRTUAL = ("--virtual-time-budget=8000",)
PLACE = '<pre id="probe"></pre>'
PHONE = 390
PROBE = """<script>addEventListener('load', async () => {{
  const said = (value) => {{ top.document.getElementById('probe').textContent = JSON.stringify(value); }};
  const wait = (time) => new Promise((done) => setTimeout(done, time));
  const press = (name) => new KeyboardEvent('keydown', {{ key: name, bubbles: true }});
  const key = (name) => document.activeElement.dispatchEvent(press(name));
  const all = (query) => [...document.querySelectorAll(query)];
  await wait(50);
  try {{ said(await (async () => {{ {steps} }})()); }} catch (error) {{ said({{ error: String(error) }}); }}
}});</script></body>"""


def open_page(
    page: Path, tmp_path: Path, *, anchor: str = "", width: int = 1280, clock: tuple[str, ...] = VIRTUAL
) -> tuple[str, str]:
    """The page's elements after its scripts ran, and what the browser wrote to its log."""
    done = subprocess.run(
        [
            str(CHROMIUM),
            *QUIET.split(),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},1200",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            *clock,
            f"{page.as_uri()}{anchor}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


def ask(page: Path, tmp_path: Path, steps: str, *, anchor: str = "", width: int = 1280, extra: str = "") -> Any:
    """What ``steps`` (JavaScript with a ``return``) say of a copy of the page that may run them."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    text = text.replace("</body>", PROBE.format(steps=steps).replace("</body>", f"{extra}</body>"))
    if width < 500:
        frame = f'<iframe width="{width}" height="844" style="border:0" srcdoc="{html.escape(text)}"></iframe>'
        text = f"<!doctype html><body>{frame}</body>"
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", f"{PLACE}</body>"), encoding="utf-8")
    dom, _ = open_page(copy, tmp_path, anchor=anchor, width=max(width, 500))
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom, flags=re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))


def violations(page: Path, tmp_path: Path, *, width: int = 1280) -> Any:
    """What axe-core finds, everything opened: ``[impact, rule, element]`` each."""
    steps = """
      all('details').forEach((one) => { one.open = true; });
      dispatchEvent(new Event('beforeprint'));
      await wait(50);
      const found = await axe.run(document);
      return found.violations.map((one) => [one.impact, one.id, one.nodes[0].html]);"""
    extra = f"<script>{Path(AXE).read_text(encoding='utf-8')}</script>"
    return ask(page, tmp_path, steps, extra=extra, width=width)
