import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def policy():
    from medpref.models.policy import load_policy

    return load_policy("tiny:llava-mistral@random")


def direct(policy, pair, branch, root):
    """log p of a reply by one plain transformers forward over prompt and reply."""
    from medpref.imaging.decode import read_image

    pixels = policy.pixels([read_image(image.locate(root)) for image in pair.views[branch.view]])
    prompt = policy.prompt_ids(pair.question, pixels)
    reply, _ = policy.reply_ids(pair.replies[branch.reply].text)
    ids = torch.tensor([prompt + reply])
    with torch.no_grad():
        logits = policy.base(input_ids=ids, **pixels).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(prompt) + place - 1, token]) for place, token in enumerate(reply))


def test_the_reader_is_a_plain_forward(policy, tmp_path):
    from medpref.evaluation.probe import probe_pair, question_blind
    from medpref.evaluation.read import engine_reader
    from medpref.evaluation.views import ProbeImages
    from medpref.schema import Branch
    from tests.evaluation.studies import studies

    examples = [example for example in studies(tmp_path, 3) if example.patient == "p2"]
    images = ProbeImages(tmp_path / "probe", root=tmp_path, seed=0)
    pairs = [probe_pair(example, images.views(example, None)) for example in examples]
    pairs.append(question_blind(pairs[0]))
    found = engine_reader(policy, tmp_path)(pairs)
    for pair, held in zip(pairs, found, strict=True):
        assert set(held) == {Branch(view, reply) for view in pair.views for reply in pair.replies}
        for branch, value in held.items():
            assert value == pytest.approx(direct(policy, pair, branch, tmp_path), abs=2e-3)


def test_the_stage_with_a_real_policy(policy, tmp_path):
    from medpref import store
    from medpref.evaluation.evaluate import evaluate
    from medpref.schema import OwnReply
    from tests.evaluation.studies import studies

    out = tmp_path / "eval" / "tiny"
    out.mkdir(parents=True)
    examples = studies(tmp_path, 4)
    train = studies(tmp_path, 4, split="train", first=50)
    rest = {"root": tmp_path, "train_examples": train, "seed": 0, "synthetic": False, "max_new_tokens": 4}
    assert evaluate(policy, examples, out, **rest)["questions"] == len(examples)
    replies = store.read_lines(out / "replies.jsonl", OwnReply)
    assert all(reply.decoding.startswith("greedy max_new_tokens=4 prompt=") for reply in replies)
    assert all(0 < len(reply.log_probs) <= 4 for reply in replies)
    first = (out / "verdicts.jsonl").read_bytes()
    evaluate(policy, examples, out, **rest)
    assert (out / "verdicts.jsonl").read_bytes() == first


def test_what_costs_more_is_added_and_changes_nothing_else(policy, tmp_path):
    from medpref import store
    from medpref.evaluation.evaluate import evaluate
    from medpref.recipe import Evaluation
    from medpref.schema import VerdictRow
    from tests.evaluation.studies import studies

    examples, train = studies(tmp_path, 4), studies(tmp_path, 4, split="train", first=50)
    rest = {"root": tmp_path, "train_examples": train, "seed": 0, "synthetic": False, "max_new_tokens": 4}
    out, more = tmp_path / "eval" / "plain", tmp_path / "eval" / "more"
    evaluate(policy, examples, out, **rest)
    settings = Evaluation(robustness=True, robustness_limit=1, attention=True)
    counts = evaluate(policy, examples, more, settings=settings, **rest)
    assert {path.name for path in out.iterdir()} == {"replies.jsonl", "verdicts.jsonl", "estimates.json"}
    added = {"robustness.json", "robustness.jsonl", "attention.json", "maps.json"}
    assert {path.name for path in more.iterdir()} - {path.name for path in out.iterdir()} == added
    assert (more / "replies.jsonl").read_bytes() == (out / "replies.jsonl").read_bytes()
    assert (more / "verdicts.jsonl").read_bytes().startswith((out / "verdicts.jsonl").read_bytes())
    assert counts["degraded"] == 1
    assert len(store.read_json(more / "robustness.json")) == 11 * (1 + 2 * 5)
    looked = [row for row in store.read_lines(more / "verdicts.jsonl", VerdictRow) if row.metric == "attention_ratio"]
    assert {row.example for row in looked} == {one.id for one in examples if one.regions}
    wrong = [row for row in store.read_lines(out / "verdicts.jsonl", VerdictRow) if row.value == 0]
    assert {row["example"] for row in store.read_json(more / "maps.json")} <= {row.example for row in wrong}
