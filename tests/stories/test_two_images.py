"""CheXPO on unified instruction data, from the command line: questions about two images through every stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from medpref import store
from medpref.schema import CLEAN, CORRUPT, REJECTED, Example, OwnReply, PreferencePair, VerdictRow

RECIPE = """
extends: chexpo_unified
name: two_images
instructions: {ordered: true, size: 48}
pairs:
  - name: rationales
    kinds: [compare]
    mine: {kind: neighbours, seeds: {kind: confidence, tokens: 4}, size: 40}
    chosen: {kind: rationale}
    rejected: {kind: counterfactual, own: first_sentence}
    limit: 8
  - name: views
    kinds: [compare]
    chosen: {kind: reference}
    localize: {kind: given_regions}
    corrupt: {kind: blackout}
    limit: 12
objective:
  - {kind: margin, better: clean/chosen, worse: clean/rejected, beta: 0.15}
  - {kind: margin, better: clean/chosen, worse: corrupt/chosen, beta: 0.15}
"""
SMALL = (
    *("--policy", "tiny:llava-mistral@random", "--source", "phantom:studies=8,validation=0,test=4,size_px=64"),
    *("--set", "source.questions=[presence,region,compare]", "--set", "sft.steps=2", "--set", "sft.batch=6"),
    *("--set", "train.steps=4", "--set", "train.batch=5", "--no-control"),
)
SAME = ("examples/examples.jsonl", "instructions/examples.jsonl", "instructions/pairs.jsonl", "instructions/card.json",
        "replies/replies.jsonl", "pairs/two_images/pairs.jsonl", "pairs/two_images/dropped.jsonl")  # fmt: skip

Command = Callable[..., tuple[int, str]]


def both(pair: PreferencePair) -> bool:
    return len(pair.views[CLEAN]) == 2


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "two_images.yaml"
    file.write_text(RECIPE)
    return file


def test_pairs_on_two_images_are_made_trained_on_and_evaluated(run: Command, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    code, said = run("run", recipe, *SMALL, "--out", out)
    assert code == 0, said

    counts = store.read_json(out / "instructions/card.json")["counts"]
    assert counts["questions"] == 48
    assert min(counts["basic"], counts["region"], counts["compare"]) >= 10
    assert counts["compare"] == counts["two_images"]
    assert f"compare {counts['compare']}" in said
    made = store.read_lines(out / "instructions/examples.jsonl", Example)
    told = store.read_lines(out / "instructions/pairs.jsonl", PreferencePair)
    assert {example.kind for example in made} == {"region", "compare"}
    assert sum(map(both, told)) == counts["compare"]
    assert {row.example for row in store.read_lines(out / "replies/replies.jsonl", OwnReply)} >= {e.id for e in made}

    pairs = store.read_lines(out / "pairs/two_images/pairs.jsonl", PreferencePair)
    assert all(both(pair) and len(pair.views.get(CORRUPT, pair.views[CLEAN])) == 2 for pair in pairs)
    rationales = [pair for pair in pairs if REJECTED in pair.replies]
    assert len(rationales) == 8
    assert all("second image" in reply.text for pair in rationales for reply in pair.replies.values())
    assert {pair.example for pair in pairs} & {example.id for example in made}
    changed = {
        tuple(clean != corrupt for clean, corrupt in zip(pair.views[CLEAN], pair.views[CORRUPT], strict=True))
        for pair in pairs
        if CORRUPT in pair.views
    }
    assert changed >= {(True, False), (False, True)}

    steps = [row for _, row in store.iter_lines(out / "train/two_images/steps.jsonl")]
    assert len(steps) == 4
    assert all(math.isfinite(row["loss"]) for row in steps)
    terms = [key for key in steps[0] if key.startswith("terms/")]
    assert len(terms) == 2
    assert all(any(row[key] for row in steps) for key in terms)

    shown = {example.id: example for example in store.read_lines(out / "examples/examples.jsonl", Example)}
    for model in ("sft", "two_images"):
        rows = store.read_lines(out / f"eval/{model}/verdicts.jsonl", VerdictRow)
        judged = [row for row in rows if row.kind == "compare" and row.metric == "closed_accuracy"]
        assert len(judged) == 2
        assert all(len(shown[row.example].images) == 2 for row in judged)
    assert (out / "report/index.html").stat().st_size > 100_000
    assert rationales[0].id in (out / "report/index.html").read_text(encoding="utf-8")


def test_two_runs_give_the_same_bytes(run: Command, recipe: Path, tmp_path: Path) -> None:
    for name in "ab":
        code, said = run("run", recipe, *SMALL, "--out", tmp_path / name, "--until", "curate")
        assert code == 0, said
    assert [file for file in SAME if (tmp_path / "a" / file).read_bytes() != (tmp_path / "b" / file).read_bytes()] == []
    blobs = [sorted(path.name for path in (tmp_path / name).rglob("*.png")) for name in "ab"]
    assert blobs[0] == blobs[1]
    code, said = run("run", recipe, *SMALL, "--out", tmp_path / "a", "--until", "curate")
    assert (code, said.count("done before")) == (0, 5), said


def test_chexpo_itself_neither_makes_nor_reads_instructions(run: Command, tmp_path: Path) -> None:
    """After a run that made them, in the same folder."""
    words = ("--until", "curate", "--out", tmp_path / "a", "--set", "pairs.0.limit=4")
    assert run("run", "chexpo_unified", *SMALL, *words)[0] == 0
    before = store.read_lines(tmp_path / "a/replies/replies.jsonl", OwnReply)
    assert run("run", "chexpo", *SMALL, *words)[0] == 0
    after = store.read_lines(tmp_path / "a/replies/replies.jsonl", OwnReply)
    source = store.read_lines(tmp_path / "a/examples/examples.jsonl", Example)
    assert {row.example for row in after} == {example.id for example in source if example.split == "train"}
    assert {row.example for row in after} < {row.example for row in before}
    code, said = run("run", "chexpo", "chexpo_unified", *SMALL, "--out", tmp_path / "b")
    assert (code, "different instructions settings" in said) == (2, True)
