"""The one place of curation that runs a model."""

from pathlib import Path

from medpref import store
from medpref.curation.build import build_pairs
from medpref.models.policy import load_policy
from medpref.schema import OwnReply, PreferencePair

from .studies import own_replies, train_split


def test_a_policy_is_loaded_once_on_first_use_and_its_samples_are_kept(tmp_path: Path) -> None:
    examples = train_split(tmp_path, patients=1)[:3]
    loaded = []

    def policy():
        loaded.append(1)
        return load_policy("tiny:llava-mistral@random")

    builders = [
        {
            "name": "sampled",
            "chosen": {"kind": "reference"},
            "rejected": {"kind": "sample", "temperature": 1.0, "n": 2, "max_new_tokens": 3},
        },
        {
            "name": "worst",
            "chosen": {"kind": "reference"},
            "rejected": {"kind": "hallucinate", "n": 2, "max_new_tokens": 3},
        },
    ]
    out = tmp_path / "pairs" / "x"
    build_pairs(builders, examples, own_replies(examples), out, root=tmp_path, prefix="pairs/x", seed=0, policy=policy)
    assert len(loaded) == 1
    replies = store.read_lines(out / "replies.jsonl", OwnReply)
    assert len(replies) == 6
    assert all(reply.log_probs and reply.decoding == "temperature 1, top_p 1" for reply in replies)
    pairs = store.read_lines(out / "pairs.jsonl", PreferencePair)
    said = {reply.text.strip() for reply in replies}
    assert all(p.replies["rejected"].text in said for p in pairs if p.provenance["builder"] == "sampled")
    assert sum(p.provenance["builder"] == "worst" for p in pairs) == 3
