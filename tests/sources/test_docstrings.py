import doctest
import importlib

import pytest

PUBLISHED = ["medpref.arrow"] + [
    f"medpref.sources.{name}" for name in ("record", "slake", "slake_words", "vqa_rad", "vqa_med")
]


@pytest.mark.parametrize("name", ["medpref.sources.jsonl", "medpref.imaging.regions", *PUBLISHED])
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
