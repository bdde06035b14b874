"""``evidence`` set on the command line: some corrupt views stay, some go, and the run trains on what is left."""

from __future__ import annotations

from pathlib import Path

from medpref import store
from medpref.schema import CORRUPT, REJECTED, PreferencePair

SMALL = (
    *("run", "mmedpo", "--policy", "tiny:llava-mistral", "--no-control", "--set", "sft=null", "--until", "train"),
    *("--source", "phantom:studies=10,validation=0,test=2,size_px=96", "--set", "train.steps=2", "--set"),
    *("train.batch=4", "--set", "pairs.1.rejected.kind=hallucinate", "--set", "pairs.1.name=both"),
)


def test_a_run_says_which_share_of_its_corrupt_views_shows_evidence(run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, text = run(*SMALL, "--set", "pairs.1.evidence=0.2", "--out", out)
    assert code == 0, text
    card = store.read_json(out / "pairs/mmedpo/card.json")["evidence"]["both"]
    assert 0 < card["kept"] < card["asked"]
    line = next(line for line in text.splitlines() if line.startswith("pairs/mmedpo"))
    assert f"evidence_asked {card['asked']}, evidence_share {card['share']}" in line
    pairs = store.read_lines(out / "pairs/mmedpo/pairs.jsonl", PreferencePair)
    checked = [pair for pair in pairs if "evidence_drop" in pair.provenance]
    assert checked
    assert all((CORRUPT in pair.views) == (pair.provenance["evidence_drop"] > 0.2) for pair in checked)
    assert all(REJECTED in pair.replies for pair in checked)
    assert (out / "train/mmedpo/manifest.json").is_file()
    code, text = run(*SMALL, "--set", "pairs.1.evidence=0.2", "--out", out)
    assert code == 0
    assert "done before" in next(line for line in text.splitlines() if line.startswith("pairs/mmedpo"))
