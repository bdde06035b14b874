"""A run says nothing that its user cannot act on."""

from __future__ import annotations

import warnings

import pytest

from medpref.models.policy import load_policy, save_policy
from medpref.recipe import Train
from medpref.training.adapter import prepare


def test_an_adapter_is_made_saved_and_loaded_without_a_warning(tmp_path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        policy = prepare(load_policy("tiny:llava-mistral@random"), Train(), seed=0)
        save_policy(policy, tmp_path / "adapter")
        load_policy(str(tmp_path / "adapter"))
    assert "Writing model shards" not in capfd.readouterr().err
