from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_generated_tables_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "make_file_map.py"), "--check"], check=False)
    assert done.returncode == 0, "run: python docs/make_file_map.py"


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert set(names["models"]) == {"base", "sft", "mdpo", "sft_control"}  # type: ignore[call-overload]
