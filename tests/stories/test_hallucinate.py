"""``hallucinate`` with ``n`` from the command line: the policy's worst wrong reply is rejected, rules the rest."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from medpref import store
from medpref.curation.falsify import is_wrong
from medpref.judging.relevance import Relevance
from medpref.language.wording import styled
from medpref.schema import Example, OwnReply, PreferencePair

SMALL = (
    *("run", "mmedpo", "--policy", "tiny:llava-mistral", "--set", "sft=null", "--until", "curate"),
    *("--source", "phantom:studies=14,validation=0,test=2,size_px=96"),
)


def test_of_the_greedy_and_the_sampled_replies_the_worst_is_rejected(run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--set", "pairs.0.rejected.n=3", "--set", "pairs.0.rejected.max_new_tokens=12")
    code, text = run(*SMALL, *options, "--out", out)
    assert code == 0, text
    folder = out / "pairs" / "mmedpo"
    said: dict[str, list[str]] = defaultdict(list)
    for path in (out / "replies" / "replies.jsonl", folder / "replies.jsonl"):
        for reply in store.read_lines(path, OwnReply):
            said[reply.example].append(reply.text)
    assert {len(texts) for texts in said.values()} == {4}
    examples = {one.id: one for one in store.read_lines(out / "examples" / "examples.jsonl", Example)}
    pairs = [one for one in store.read_lines(folder / "pairs.jsonl", PreferencePair) if "rejected" in one.replies]
    authors = []
    for pair in pairs:
        example, rejected = examples[pair.example], pair.replies["rejected"]
        authors.append(rejected.author)
        worst: tuple[float, str] | None = None
        for candidate in said[pair.example]:
            spoken = styled(candidate.strip(), like=example.answer.strip()) if candidate.strip() else ""
            if spoken and is_wrong(example, spoken, like=example.answer):
                matters = Relevance().judge(example, spoken).value or 0.0
                worst = max(worst, (matters, spoken)) if worst else (matters, spoken)
        assert (rejected.author == "policy") == (worst is not None)
        if worst is not None:
            assert (Relevance().judge(example, rejected.text).value or 0.0) == worst[0]
            assert pair.provenance["made_by"] == "policy"
    assert 5 < authors.count("policy") < len(authors) - 5


def test_by_default_no_reply_is_asked_for(run, tmp_path: Path) -> None:
    code, text = run(*SMALL, "--out", tmp_path / "run")
    assert code == 0, text
    assert not (tmp_path / "run" / "replies").exists()
    assert not (tmp_path / "run" / "pairs" / "mmedpo" / "replies.jsonl").exists()
    pairs = store.read_lines(tmp_path / "run/pairs/mmedpo/pairs.jsonl", PreferencePair)
    assert "policy" not in {one.replies["rejected"].author for one in pairs if "rejected" in one.replies}
