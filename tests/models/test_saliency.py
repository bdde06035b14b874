from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from medpref.models.policy import load_policy
from medpref.models.saliency import by_token, grids, log_prob_of, reply_log_prob, saliency

FILMS = [Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64), dtype=np.uint8)) for seed in range(2)]
QUESTION, REPLY = "Is there a nodule?", "Yes"


@pytest.fixture(scope="module", params=["llava-mistral", "llava-qwen2", "qwen2_5_vl"])
def policy(request):
    return load_policy(f"tiny:{request.param}@random")


def test_reading_over_features_is_transformers_own_forward(policy) -> None:
    pixels = policy.pixels(FILMS[:1])
    prompt = policy.prompt_ids(QUESTION, pixels)
    said = policy.reply_ids(REPLY)[0]
    ids = torch.tensor([[*prompt, *said]])
    kinds = {"mm_token_type_ids": (ids == policy.family.image_token_id(policy.base)).int()}
    told = kinds if policy.family.axes == 3 else {}
    with torch.no_grad():
        ours = reply_log_prob(policy, prompt, REPLY, pixels).item()
        logits = policy.base(
            input_ids=ids, attention_mask=torch.ones_like(ids), **pixels, **told, use_cache=False
        ).logits
    theirs = logits[0, len(prompt) - 1 : -1].log_softmax(-1).gather(1, ids[0, len(prompt) :, None]).sum().item()
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_the_map_of_features_is_their_slope(policy) -> None:
    """Against finite differences along the gradient's signs: log p rises by the map's sum per unit of step."""
    found = saliency(policy, FILMS[:1], QUESTION, REPLY, of="features")
    pixels = policy.pixels(FILMS[:1])
    prompt = policy.prompt_ids(QUESTION, pixels)
    with torch.no_grad():
        features = policy.family.features(policy.model, pixels)
    held = features.clone().requires_grad_()
    (slope,) = torch.autograd.grad(log_prob_of(policy, prompt, REPLY, held, pixels), held)
    step = 1e-3 * slope.sign()
    with torch.no_grad():
        ends = [log_prob_of(policy, prompt, REPLY, features + sign * step, pixels).item() for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(found.sum(), rel=0.05)
    assert (found >= 0).all()


def test_the_map_of_features_by_transformers_own_decoder(policy) -> None:
    """Embeddings put in place token by token, causality and positions left to transformers, every slope summed."""
    found = saliency(policy, FILMS[:1], QUESTION, REPLY, of="features")
    pixels = policy.pixels(FILMS[:1])
    prompt = policy.prompt_ids(QUESTION, pixels)
    ids = torch.tensor([*prompt, *policy.reply_ids(REPLY)[0]])
    image = [place for place, token in enumerate(ids.tolist()) if token == policy.family.image_token_id(policy.base)]
    with torch.no_grad():
        grid = pixels.get("image_grid_thw")
        seen = policy.base.get_image_features(
            pixel_values=pixels["pixel_values"], return_dict=True, **({} if grid is None else {"image_grid_thw": grid})
        ).pooler_output
        rows = policy.base.get_input_embeddings()(ids.clamp(max=policy.base.get_input_embeddings().num_embeddings - 1))
    rows = rows.clone()
    for place, row in zip(image, torch.cat(tuple(seen)).reshape(len(image), -1), strict=True):
        rows[place] = row
    rows.requires_grad_()
    places = policy.family.positions(policy.model, ids.tolist(), pixels)
    told = {} if len(places) == 1 else {"position_ids": places[:, None]}
    states = policy.base.model.language_model(inputs_embeds=rows[None], use_cache=False, **told).last_hidden_state[0]
    log_probs = policy.base.lm_head(states).log_softmax(dim=-1)
    sum(log_probs[place - 1, ids[place]] for place in range(len(prompt), len(ids))).backward()
    naive = [float(rows.grad[place].abs().sum()) for place in image]
    assert found.shape[0] * found.shape[1] == len(image)
    assert found.ravel() == pytest.approx(np.array(naive), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("of", ["features", "pixels"])
def test_a_map_is_the_same_again(policy, of: str) -> None:
    first, again = (saliency(policy, FILMS[:1], QUESTION, REPLY, of=of) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, saliency(policy, FILMS[:1], QUESTION, "No", of=of))


def test_of_two_images_each_has_its_own_map(policy) -> None:
    first, second = (saliency(policy, FILMS, QUESTION, REPLY, index=index) for index in range(2))
    turned = [saliency(policy, FILMS[::-1], QUESTION, REPLY, index=index) for index in range(2)]
    assert first.shape == second.shape == saliency(policy, FILMS[:1], QUESTION, REPLY).shape
    assert not np.allclose(first, second)
    assert not np.allclose(turned[1], first), "the order of the images matters to the reply"


def test_tokens_by_hand() -> None:
    image = torch.zeros(2, 1, 4, 4)
    image[1, 0, 0, 3] = 8.0
    assert by_token(image, [(2, 2), (2, 2)], 1).tolist() == [[0, 2], [0, 0]]
    assert by_token(image, [(2, 2), (2, 2)], 0).sum() == 0
    patches = torch.arange(12.0).reshape(6, 2)
    assert by_token(patches, [(1, 2), (2, 2)], 1).tolist() == [[9, 13], [17, 21]]


def test_no_grid_and_no_reply_give_no_map(policy) -> None:
    assert saliency(policy, FILMS[:1], QUESTION, "  ") is None
    tiles = {"pixel_values": torch.zeros(5, 3, 8, 8)}
    assert grids(policy, tiles, 20, shapes=[(8, 8)]) is None
    assert grids(policy, {"pixel_values": torch.zeros(2, 3, 8, 8)}, 9, shapes=[(8, 8)] * 2) is None
    if "image_grid_thw" not in policy.pixels(FILMS[:1]):
        seen = {"pixel_values": torch.zeros(1, 3, 8, 8)}
        for does in ("do_pad", "do_center_crop"):
            shifting = SimpleNamespace(processor=SimpleNamespace(image_processor=SimpleNamespace(**{does: True})))
            assert grids(shifting, seen, 4, shapes=[(96, 64)]) is None, "the grid lies over another square"
            assert grids(shifting, seen, 4, shapes=[(64, 64)]) == [(2, 2)]
        assert grids(policy, {"pixel_values": torch.zeros(2, 3, 8, 8)}, 8, shapes=[(8, 8)] * 2) == [(2, 2)] * 2
