"""Generation against a loop without cache, a teacher-forced forward, and itself in other batches."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from medpref.models.generate import Generated, Request, _choose, generate
from medpref.models.policy import Policy
from medpref.models.tiny import BUILDERS
from tests.models.test_families import forward_inputs

QUESTIONS = ("Is there a nodule on the left side?", "What?", "How severe is the effusion?")


@pytest.fixture(scope="module")
def requests(images: list[Image.Image]) -> list[Request]:
    """Five requests over two image sets, one of them of two images, interleaved."""
    sets = (tuple(images[:1]), tuple(images[1:3]))
    return [Request(f"r{n}", sets[n % 2], QUESTIONS[n % 3]) for n in range(5)]


@torch.no_grad()
def naive(policy: Policy, request: Request, *, max_new_tokens: int) -> Generated:
    """Greedy decoding that reads the whole sequence again for every token."""
    pixels = policy.pixels(request.images)
    prompt = policy.prompt_ids(request.question, pixels)
    ids, log_probs = list(prompt), []
    for _ in range(max_new_tokens):
        row = policy.model(**forward_inputs(policy, ids, pixels)).logits[0, -1].log_softmax(-1)
        ids.append(int(row.argmax()))
        log_probs.append(float(row.max()))
        if ids[-1] == policy.turn.end:
            break
    reply = ids[len(prompt) :]
    return Generated(policy.decode(reply), tuple(reply), tuple(log_probs))


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_greedy_equals_the_loop_without_cache(
    name: str, policy_of: Callable[[str], Policy], requests: list[Request]
) -> None:
    policy = policy_of(name)
    got = list(generate(policy, requests, max_new_tokens=6))
    assert len(got) == len(requests)
    for request, [reply] in zip(requests, got, strict=True):
        expected = naive(policy, request, max_new_tokens=6)
        assert reply.ids == expected.ids
        assert reply.text == expected.text
        np.testing.assert_allclose(reply.log_probs, expected.log_probs, atol=1e-5)


@torch.no_grad()
def test_log_probs_are_of_the_untempered_distribution(
    policy_of: Callable[[str], Policy], requests: list[Request]
) -> None:
    policy = policy_of("qwen2_5_vl")
    for request, replies in zip(
        requests, generate(policy, requests, max_new_tokens=5, temperature=0.7, top_p=0.8, n=2), strict=True
    ):
        assert len({reply.ids for reply in replies}) == 2, "random weights: two draws differ"
        pixels = policy.pixels(request.images)
        prompt = policy.prompt_ids(request.question, pixels)
        for reply in replies:
            logits = policy.model(**forward_inputs(policy, [*prompt, *reply.ids], pixels)).logits[0]
            rows = logits[len(prompt) - 1 : -1].log_softmax(-1)
            expected = rows.gather(1, torch.tensor(reply.ids)[:, None])[:, 0]
            np.testing.assert_allclose(reply.log_probs, expected, atol=2e-5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_order_and_batch_size_do_not_matter(
    temperature: float, policy_of: Callable[[str], Policy], requests: list[Request]
) -> None:
    policy = policy_of("llava-qwen2")
    settings = {"max_new_tokens": 6, "temperature": temperature, "n": 2, "seed": 5}
    whole = list(generate(policy, requests, **settings))
    alone = [next(generate(policy, [request], **settings)) for request in requests]
    small = list(generate(policy, requests[::-1], batch_tokens=300, **settings))[::-1]
    for a, b, c in zip(whole, alone, small, strict=True):
        assert [reply.ids for reply in a] == [reply.ids for reply in b] == [reply.ids for reply in c]
    other = list(generate(policy, requests, **{**settings, "seed": 6}))
    assert (other == whole) == (temperature == 0.0)


def test_same_question_under_another_id_draws_otherwise(
    policy_of: Callable[[str], Policy], images: list[Image.Image]
) -> None:
    policy = policy_of("llava-mistral")
    asked = [Request(name, (images[0],), "What?") for name in ("a", "b", "a")]
    first, second, third = (replies[0].ids for replies in generate(policy, asked, max_new_tokens=8, temperature=1.0))
    assert first == third != second


def test_it_stops_at_the_end_token(policy_of: Callable[[str], Policy], images: list[Image.Image]) -> None:
    policy = policy_of("llava-mistral")
    asked = [Request(str(n), (images[0],), QUESTIONS[n % 3]) for n in range(12)]
    head = policy.family.head(policy.model)
    before = policy.turn.end
    bias = torch.zeros(head.out_features)
    bias[before] = 4.5
    hook = head.register_forward_hook(lambda _module, _inputs, out: out + bias)
    try:
        replies = [reply for [reply] in generate(policy, asked, max_new_tokens=40, temperature=1.0)]
    finally:
        hook.remove()
    lengths = {len(reply.ids) for reply in replies}
    assert len(lengths) > 3, "replies that end at different steps"
    for reply in replies:
        assert before not in reply.ids[:-1]
        assert reply.ids[-1] == before or len(reply.ids) == 40
        assert len(reply.log_probs) == len(reply.ids)


def test_it_leaves_the_model_in_the_mode_it_found(policy_of: Callable[[str], Policy], requests: list[Request]) -> None:
    policy = policy_of("llava-mistral")
    policy.model.train()
    list(generate(policy, requests[:1], max_new_tokens=1))
    assert policy.model.training
    policy.model.eval()
    assert list(generate(policy, [], max_new_tokens=1)) == []


def test_features_are_computed_once_per_image_set(policy_of: Callable[[str], Policy], requests: list[Request]) -> None:
    import dataclasses

    policy = policy_of("llava-mistral")
    calls = []

    def counted(model: object, pixels: dict[str, torch.Tensor]) -> torch.Tensor:
        calls.append(len(pixels["pixel_values"]))
        return policy.family.features(model, pixels)

    family = dataclasses.replace(policy.family, features=counted)
    list(generate(dataclasses.replace(policy, family=family), requests, max_new_tokens=2, batch_tokens=250))
    assert sorted(calls) == [1, 2]


def test_choose_by_hand() -> None:
    log_probs = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    pick = lambda u, t=1.0, p=1.0: int(_choose(log_probs, [u], temperature=t, top_p=p))  # noqa: E731
    assert [pick(u) for u in (0.05, 0.11, 0.59, 0.61, 0.74, 0.76, 1 - 1e-16)] == [0, 1, 1, 2, 2, 3, 3]
    assert [pick(u, p=0.6) for u in (0.0, 0.66, 0.67)] == [1, 1, 3], "0.5 and 0.25 remain: 2/3 and 1/3"
    assert [pick(u, p=0.5) for u in (0.0, 0.999)] == [1, 1]
    assert pick(0.99, t=0.01) == 1
    assert int(_choose(log_probs, None, temperature=0.0, top_p=1.0)) == 1


def test_choose_follows_the_distribution() -> None:
    rng = np.random.default_rng(0)
    probs = torch.tensor([0.1, 0.5, 0.15, 0.25])
    draws = _choose(probs.log().expand(20000, 4), list(rng.random(20000)), temperature=1.0, top_p=1.0)
    counts = torch.bincount(draws, minlength=4) / 20000
    torch.testing.assert_close(counts, probs, atol=0.015, rtol=0)
