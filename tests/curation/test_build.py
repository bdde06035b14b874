import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medpref import store
from medpref.curation.build import build_pairs, parse_builder
from medpref.curation.views import rebuild
from medpref.errors import DataError, RecipeError
from medpref.imaging.decode import read_array
from medpref.registry import REGISTRIES
from medpref.schema import Example, OwnReply, PreferencePair, Reply, Span

from .studies import ASKED, own_replies, train_split

CORRUPT = {"localize": {"kind": "given_regions"}, "corrupt": {"kind": "gaussian_noise"}}
FIRE = {"name": "edits", "chosen": {"kind": "correct"}, "rejected": {"kind": "sample"}, **CORRUPT}
MMEDPO = [
    {
        "name": "text",
        "chosen": {"kind": "reference"},
        "rejected": {"kind": "hallucinate"},
        "judge": {"kind": "relevance"},
        "reweigh": {"kind": "moments"},
    },
    {"name": "visual", "chosen": {"kind": "reference"}, "judge": {"kind": "region_confidence"}, **CORRUPT},
]


def build(builders, root: Path, *, out: str = "x", examples=None, **options):
    examples = train_split(root) if examples is None else examples
    builders = builders if isinstance(builders, list) else [builders]
    folder = root / "pairs" / out
    options = {"own": own_replies(examples), "seed": 0, "prefix": f"pairs/{out}", **options}
    own = options.pop("own")
    counts = build_pairs(builders, examples, own, folder, root=root, **options)
    return counts, store.read_lines(folder / "pairs.jsonl", PreferencePair), folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_fire_mpo_pairs_have_both_replies_and_a_view_where_a_region_is(tmp_path: Path) -> None:
    counts, pairs, folder = build(FIRE, tmp_path)
    assert counts["pairs"] == len(pairs) == 27
    assert counts["corrupt_views"] == sum("corrupt" in pair.views for pair in pairs) == 18
    for pair in pairs:
        assert set(pair.replies) == {"chosen", "rejected"}
        marked = [pair.replies[name] for name in ("chosen", "rejected")]
        assert all(reply.spans for reply in marked)
        has_region = int(pair.patient[-1]) % 2 == 0
        assert ("corrupt" in pair.views) is has_region
        if not has_region:
            assert pair.provenance["no_corrupt_view"] == "no region was found"
    assert not (folder / "journal.jsonl").exists()


def test_mmedpo_text_pairs_and_visual_pairs_are_apart_with_their_own_weights(tmp_path: Path) -> None:
    counts, pairs, _ = build(MMEDPO, tmp_path)
    text = [pair for pair in pairs if pair.provenance["builder"] == "text"]
    visual = [pair for pair in pairs if pair.provenance["builder"] == "visual"]
    assert (counts["pairs/text"], counts["pairs/visual"]) == (len(text), len(visual)) == (27, 18)
    assert all(set(pair.replies) == {"chosen", "rejected"} and set(pair.views) == {"clean"} for pair in text)
    assert all(set(pair.replies) == {"chosen"} and set(pair.views) == {"clean", "corrupt"} for pair in visual)
    weights = np.array([pair.weight for pair in text])
    assert weights.min() >= 0.75
    assert weights.max() <= 1.25
    assert weights.std() > 0.05
    assert {pair.weight for pair in visual} == {0.25, 0.75}
    dropped = [json.loads(line) for line in (tmp_path / "pairs/x/dropped.jsonl").read_text().splitlines()]
    assert {(row["step"], row["reason"]) for row in dropped} == {("view", "no region was found")}


def test_pairs_alone_rebuild_every_corrupt_image_bit_for_bit(tmp_path: Path) -> None:
    _, pairs, _ = build([FIRE, *MMEDPO], tmp_path)
    seen = 0
    for pair in pairs:
        if "corrupt" in pair.views:
            (array,) = rebuild(pair, tmp_path).values()
            stored = pair.views["corrupt"][0]
            path = tmp_path / stored.path
            assert path.is_file()
            assert store.file_digest(path) == stored.sha256
            assert np.array_equal(array, read_array(path))
            clean = read_array(tmp_path / pair.views["clean"][0].path)
            changed = array != clean
            assert changed.any()
            assert not changed[:4].any()
            seen += 1
    assert seen == 36


def test_provenance_says_who_wrote_what_with_which_settings(tmp_path: Path) -> None:
    _, pairs, _ = build([FIRE, *MMEDPO], tmp_path, policy_hash="p" * 8)
    for pair in pairs:
        told = pair.provenance
        assert told["builder"] in ("edits", "text", "visual")
        assert told["config"]["chosen"]["kind"] in ("correct", "reference")
        assert told["seed"] == 0
        assert told["policy"] == "p" * 8
        assert told["medpref"]
        assert told["answer"]
        assert all(reply.author for reply in pair.replies.values())
        json.dumps(told)
    text = next(pair for pair in pairs if pair.provenance["builder"] == "text")
    assert text.provenance["verdict"]["judge"] == "relevance"
    assert 0 < text.provenance["raw_weight"] <= 1


def test_only_train_examples_become_pairs(tmp_path: Path) -> None:
    examples = train_split(tmp_path, patients=1) + train_split(tmp_path, patients=1, split="test")
    with pytest.raises(DataError, match="split 'test'; expected train"):
        build(FIRE, tmp_path, examples=examples)


def test_leaks_are_counted_and_dropped_where_asked(tmp_path: Path) -> None:
    held = train_split(tmp_path, patients=1, split="test")
    counts, _, folder = build(FIRE, tmp_path, held_out=held)
    card = store.read_json(folder / "card.json")
    assert card["leaks"] == {"held_out": 9, "by_patient": 0, "by_image": 9}
    fewer, pairs, folder = build({**FIRE, "screens": ["leaked"]}, tmp_path, out="y", held_out=held)
    assert fewer["pairs"] == counts["pairs"] - 9
    assert all(pair.patient != "train-p0" for pair in pairs)
    assert store.read_json(folder / "card.json")["leaks"]["by_image"] == 0


def test_order_of_examples_changes_the_order_of_pairs_and_nothing_else(tmp_path: Path) -> None:
    examples = train_split(tmp_path)
    _, forth, _ = build([FIRE], tmp_path, examples=examples)
    _, back, _ = build([FIRE], tmp_path, examples=examples[::-1], out="y", own=own_replies(examples), prefix="pairs/x")
    assert {pair.id: pair for pair in forth} == {pair.id: pair for pair in back}


@pytest.mark.parametrize("after", [0, 5, 20])
def test_a_kill_loses_nothing_and_changes_no_byte(after: int, tmp_path: Path) -> None:
    builders = [FIRE, *MMEDPO]
    _, _, whole = build(builders, tmp_path, out="whole", prefix="pairs/x")
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from pathlib import Path
from medpref.curation import build as module
from tests.curation.test_build import build
real, made = module.assemble, []
def killing(*args, **kwargs):
    made.append(1)
    if len(made) > {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
module.assemble = killing
build({builders!r}, Path({str(tmp_path)!r}), out="killed", prefix="pairs/x")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-800:]
    killed = tmp_path / "pairs" / "killed"
    assert not (killed / "card.json").exists()
    journal = killed / "journal.jsonl"
    kept = len(journal.read_text().splitlines())
    assert kept == after + 1
    with journal.open("a") as file:
        file.write('{"key": "edits/tor')
    build(builders, tmp_path, out="killed", prefix="pairs/x")
    assert content(killed) == content(whole)


def test_what_is_journalled_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medpref.curation import build as module

    real, made = module.assemble, []

    def failing(builder, example, *args, **kwargs):
        made.append(example.id)
        if len(made) == 7:
            raise KeyboardInterrupt
        return real(builder, example, *args, **kwargs)

    monkeypatch.setattr(module, "assemble", failing)
    with pytest.raises(KeyboardInterrupt):
        build(FIRE, tmp_path)
    build(FIRE, tmp_path)
    assert len(made) == 27 + 1
    assert made[6] == made[7]
    before = list(made)
    build(FIRE, tmp_path)
    assert made == before


def test_another_seed_starts_afresh(tmp_path: Path) -> None:
    build(FIRE, tmp_path)
    _, first, _ = build(FIRE, tmp_path, seed=1)
    _, second, _ = build(FIRE, tmp_path, out="y", seed=1, prefix="pairs/x")
    assert first == second


def test_kinds_limit_and_miner(tmp_path: Path) -> None:
    _, pairs, _ = build({**FIRE, "kinds": ["side", "view"]}, tmp_path)
    assert {pair.kind for pair in pairs} == {"side", "view"}
    _, pairs, _ = build({**FIRE, "limit": 5}, tmp_path, out="y")
    assert len(pairs) == 5
    _, pairs, _ = build({**FIRE, "mine": {"kind": "confidence", "size": 4}}, tmp_path, out="z")
    assert {pair.provenance["mined"]["cell"] for pair in pairs} <= {
        "confident wrong",
        "middling wrong",
        "unsure right",
        "unsure wrong",
    }
    assert 0 < len(pairs) <= 4


def test_duplicates_are_dropped_across_builders(tmp_path: Path) -> None:
    visual = {"chosen": {"kind": "reference"}, "localize": "given_regions", "corrupt": "blackout"}
    counts, pairs, folder = build([{**visual, "name": "one"}, {**visual, "name": "two"}], tmp_path)
    assert (counts["pairs/one"], counts["pairs/two"], len(pairs)) == (18, 0, 18)
    reason = "two: duplicate: the same question, images and replies as an earlier pair"
    assert store.read_json(folder / "card.json")["dropped"][reason] == 18


def test_imported_pairs_get_spans_and_a_view_where_the_builders_pair_both(tmp_path: Path) -> None:
    examples = train_split(tmp_path)

    def pair(place: int, name: str) -> PreferencePair:
        one = examples[place]
        replies = {"chosen": Reply(text="right side"), "rejected": Reply(text="left side")}
        return PreferencePair(
            id=name, example=one.id, patient=one.patient, question=one.question, views={"clean": one.images},
            replies=replies, weight=0.4,
        )  # fmt: skip

    stranger = pair(0, "stranger").model_copy(update={"example": "nobody"})
    given = (pair(0, "a"), pair(len(ASKED), "b"), stranger)
    counts, pairs, _ = build(FIRE, tmp_path, examples=examples, imported=given)
    first, second = (next(p for p in pairs if p.id == name) for name in "ab")
    assert counts["pairs/imported"] == 2
    assert first.replies["chosen"].spans == (Span(start=0, end=5),)
    assert "corrupt" in first.views
    assert np.array_equal(rebuild(first, tmp_path)[0], read_array(tmp_path / first.views["corrupt"][0].path))
    assert "corrupt" not in second.views
    assert first.weight == second.weight == 0.4
    dropped = (tmp_path / "pairs/x/dropped.jsonl").read_text()
    assert "not in the train split" in dropped
    _, pairs, _ = build(MMEDPO, tmp_path, examples=examples, imported=given, out="y")
    assert all(set(p.views) == {"clean"} for p in pairs if p.id in "ab")


def test_writers_that_sample_ask_the_policy_once_and_keep_the_replies(tmp_path: Path, monkeypatch) -> None:
    from medpref.curation import build as module

    asked: list[str] = []

    def sampler_of(policy, root):
        def sample(examples, plan, seed):
            asked.extend(example.id for example in examples)
            return [
                [OwnReply(example=one.id, text=f"{policy} {n}", decoding="t") for n in range(plan.n)]
                for one in examples
            ]

        return sample

    monkeypatch.setattr(module, "policy_sampler", sampler_of)
    config = {
        "name": "sampled",
        "chosen": {"kind": "reference"},
        "rejected": {"kind": "sample", "temperature": 1.0, "n": 2},
    }
    _, pairs, folder = build(config, tmp_path, policy="Nothing")
    assert {pair.replies["rejected"].text for pair in pairs} == {"Nothing 0"}
    assert len(asked) == 27
    assert len(store.read_lines(folder / "replies.jsonl", OwnReply)) == 54
    with pytest.raises(RecipeError, match="a writer that samples; expected a policy"):
        build(config, tmp_path, out="y")


def test_swap_image_lends_another_patients_image(tmp_path: Path) -> None:
    swap = {**FIRE, "localize": None, "corrupt": {"kind": "swap_image"}}
    _, pairs, _ = build(swap, tmp_path)
    clean = {pair.views["clean"][0].sha256: pair.patient for pair in pairs}
    for pair in pairs:
        donor = pair.provenance["corruption"]["0"]["sha256"]
        assert clean[donor] != pair.patient
        assert np.array_equal(rebuild(pair, tmp_path)[0], read_array(tmp_path / pair.views["corrupt"][0].path))


def test_of_several_images_only_the_located_one_is_corrupted(tmp_path: Path) -> None:
    first, second = (train_split(tmp_path, patients=2)[place] for place in (0, len(ASKED)))
    both = first.model_copy(update={"images": first.images + second.images, "kind": "compare"})
    _, (pair,), _ = build(FIRE, tmp_path, examples=[both])
    assert pair.views["corrupt"][1] == pair.views["clean"][1]
    assert pair.views["corrupt"][0] != pair.views["clean"][0]
    assert set(rebuild(pair, tmp_path)) == {0}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rejected": {"kind": "sample"}}, "no 'chosen'"),
        ({"chosen": {"kind": "reference"}}, "one reply and one view"),
        ({"chosen": {"kind": "referense"}, "rejected": "sample"}, "did you mean 'reference'"),
        ({"chosen": "reference", "rejectd": "sample"}, "did you mean 'rejected'"),
        ({"chosen": "reference", "rejected": "sample", "localize": "given_regions"}, "'localize' without 'corrupt'"),
        ({"chosen": "reference", "rejected": "sample", "limit": 0}, "limit 0"),
        ({"chosen": "reference", "rejected": "sample", "name": "No Name"}, "name 'No Name'"),
        ({"chosen": "reference", "rejected": {"kind": "targeted", "error": "sid"}}, "error = 'sid'"),
        ({"chosen": "reference", "rejected": "sample", "screens": ["lenght"]}, "did you mean 'length'"),
    ],
)
def test_a_wrong_builder_is_named(config: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_builder(config, "recipe x, pairs[0]")


def test_builders_say_which_branches_they_make() -> None:
    assert parse_builder(FIRE, "x").views == ("clean", "corrupt")
    assert parse_builder(FIRE, "x").replies == ("chosen", "rejected")
    assert parse_builder({"chosen": "correct"}, "x").replies == ("chosen", "rejected")
    visual = parse_builder(MMEDPO[1], "x")
    assert (visual.views, visual.replies, visual.name) == (("clean", "corrupt"), ("chosen",), "visual")


def test_two_builders_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="2 builders named 'edits'"):
        build([FIRE, FIRE], tmp_path)


def test_every_component_has_a_schema() -> None:
    for registry in REGISTRIES:
        if registry.package.endswith(("curation", "judging")):
            assert registry.json_schema()["oneOf"]


def test_an_example_without_own_reply_is_dropped_with_its_reason(tmp_path: Path) -> None:
    counts, _, folder = build(FIRE, tmp_path, own={})
    assert counts["pairs"] == 0
    reasons = store.read_json(folder / "card.json")["dropped"]
    assert reasons == {"edits: write: the policy gave no reply to this example": 27}


def test_credentials_of_pairs_are_their_examples(tmp_path: Path) -> None:
    _, pairs, _ = build(FIRE, tmp_path)
    by_id: dict[str, Example] = {example.id: example for example in train_split(tmp_path)}
    for pair in pairs:
        example = by_id[pair.example]
        assert (pair.patient, pair.question, pair.kind) == (example.patient, example.question, example.kind)
        assert pair.views["clean"] == example.images
