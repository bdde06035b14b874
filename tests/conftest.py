"""What every test may ask for: the real data pack, where it is there."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def pack_folder() -> Path:
    """The folder of the real pack; the test skips where there is none."""
    folder = Path(os.environ.get("MEDPREF_DATA", BESIDE))
    if not (folder / "manifest.jsonl").is_file():
        pytest.skip(f"no data pack at {folder}; set MEDPREF_DATA to its folder")
    return folder
