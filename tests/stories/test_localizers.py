"""Localizers that ask a model, set on the command line of a run."""

from __future__ import annotations

from pathlib import Path

from tests.models.tiny_grounders import build

from medpref import store
from medpref.schema import CORRUPT, PreferencePair

WITH_SFT = (
    *("run", "mmedpo", "--policy", "tiny:llava-mistral", "--no-control", "--until", "curate"),
    *("--source", "phantom:studies=6,validation=0,test=2,size_px=64"),
)
SMALL = (*WITH_SFT, "--set", "sft=null")


def pairs_of(out: Path) -> list[PreferencePair]:
    made = store.read_lines(out / "pairs/mmedpo/pairs.jsonl", PreferencePair)
    return [pair for pair in made if CORRUPT in pair.views]


def test_a_run_lends_its_policy_to_the_localizer(run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, text = run(*SMALL, "--set", "pairs.1.localize={kind: policy_saliency, quantile: 0.95}", "--out", out)
    assert code == 0, text
    made = pairs_of(out)
    assert made
    for pair in made:
        (region,) = pair.provenance["regions"]
        assert region["origin"].startswith("policy_saliency of features: quantile 0.95, covers 0.0")
        assert 0 < region["confidence"] <= 1
        assert pair.provenance["corruption"]["0"]["change"]["mask_share"] <= 205 / 64**2  # 5 % of 4096, rounded up
    again = tmp_path / "again"
    run(*SMALL, "--set", "pairs.1.localize={kind: policy_saliency, quantile: 0.95}", "--out", again)
    assert (again / "pairs/mmedpo/pairs.jsonl").read_bytes() == (out / "pairs/mmedpo/pairs.jsonl").read_bytes()


def test_a_run_localizes_by_what_the_policy_itself_says(run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, text = run(*SMALL, "--set", "pairs.1.localize={kind: policy_saliency, reply: own, of: pixels}", "--out", out)
    assert code == 0, text
    assert (out / "replies/replies.jsonl").exists()
    assert all("of pixels" in pair.provenance["regions"][0]["origin"] for pair in pairs_of(out))
    assert pairs_of(out)


def test_another_policys_own_reply_is_not_the_runs(run, tmp_path: Path) -> None:
    """A named policy speaks for itself: the run's policy writes no replies, and two films of a comparison are found."""
    out = tmp_path / "run"
    told = "{kind: policy_saliency, reply: own, policy: 'tiny:llava-qwen2'}"
    films = "phantom:studies=8,validation=0,test=2,size_px=64"
    code, text = run(
        *SMALL, "--source", films, "--set", "source.questions=[compare]", "--set", f"pairs.1.localize={told}",
        "--out", out,
    )  # fmt: skip
    assert code == 0, text
    assert not (out / "replies").exists()
    made = pairs_of(out)
    assert all("by tiny:llava-qwen2~" in pair.provenance["regions"][0]["origin"] for pair in made)
    assert {len(pair.views[CORRUPT]) for pair in made} == {2}


def test_a_run_asks_a_detector_by_name(run, tmp_path: Path) -> None:
    folder, out = build("owlvit", tmp_path / "owl"), tmp_path / "run"
    code, text = run(
        *SMALL, "--set", f"pairs.1.localize={{kind: segmenter, model: {folder}, threshold: 0.1, max_share: 1}}",
        "--out", out,
    )  # fmt: skip
    assert code == 0, text
    made = pairs_of(out)
    assert made
    assert all("segmenter owlvit~" in pair.provenance["regions"][0]["origin"] for pair in made)
    assert not [pair for pair in made if pair.provenance["answer"] in ("No", "None")]
    again = ("--set", f"pairs.1.localize={{kind: segmenter, model: {folder}, threshold: 0.1, max_share: 1}}")
    assert "done before" in curated(run(*SMALL, *again, "--out", out))
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert "done before" not in curated(run(*SMALL, *again, "--out", out)), "other files, other pairs"


def curated(told: tuple[int, str]) -> str:
    """What a run says of its pairs."""
    assert told[0] == 0, told[1]
    return next(line for line in told[1].splitlines() if line.startswith("pairs/mmedpo"))


def test_a_model_that_is_not_there_is_named_before_any_work(run, tmp_path: Path) -> None:
    """Before SFT, which may take a day."""
    out = tmp_path / "run"
    code, text = run(*WITH_SFT, "--set", "pairs.1.localize={kind: segmenter, model: nowhere}", "--out", out)
    assert code == 2
    assert "localize.model nowhere: no such folder; expected a checkpoint's folder or a hub id" in text
    assert "Traceback" not in text
    told = "pairs.1.localize={kind: policy_saliency, policy: 'tiny:llava'}"
    code, text = run(*WITH_SFT, "--set", told, "--out", out)
    assert code == 2
    assert "localize.policy tiny:llava: tiny model 'llava'" in text
    assert not out.exists(), "nothing was done"
