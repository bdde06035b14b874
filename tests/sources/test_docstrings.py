import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["medpref.sources.jsonl", "medpref.imaging.regions"])
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
