"""Each family reads a plain causal row as its own forward does, on tiny random weights."""

import copy
from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import Tensor, nn

from medpref.errors import ModelError
from medpref.models.decoder import same_image
from medpref.models.families import FAMILIES, family_of
from medpref.models.family_qwen import grid_positions
from medpref.models.policy import Policy, load_policy
from medpref.models.tiny import BUILDERS

NAMES = sorted(BUILDERS)


def forward_inputs(policy: Policy, ids: list[int], pixels: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the model's own forward wants, as its processor would give it."""
    row = torch.tensor([ids])
    image = (row == policy.family.image_token_id(policy.model)).long()
    inputs = {"input_ids": row, **{key: value for key, value in pixels.items() if key not in UNUSED}}
    types = TYPE_KEYS.get(policy.base.config.model_type)
    return {**inputs, types: image} if types else inputs


UNUSED = {"num_crops", "num_patches", "rows", "cols"}
TYPE_KEYS = {kind: "mm_token_type_ids" for kind in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")} | {
    "gemma3": "token_type_ids"
}


def read(policy: Policy, ids: list[int], pixels: dict[str, Tensor]) -> Tensor:
    """Logits ``[token, vocabulary]`` of one causal row through the family's operations."""
    family, model = policy.family, policy.model
    row = torch.tensor(ids)
    embeds = family.embed(model, row, family.features(model, pixels))[None]
    mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()[None, None]
    positions = family.positions(model, ids, pixels)[:, None]
    assert positions.shape == (family.axes, 1, len(ids))
    return family.head(model)(family.hidden(model, embeds, mask, positions, ids=row[None]))[0]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_hidden_and_head_equal_the_models_forward(
    name: str, count: int, policy_of: Callable[[str], Policy], images: list[Image.Image]
) -> None:
    policy = policy_of(name)
    pixels = policy.pixels(images[:count])
    ids = policy.prompt_ids("Is there a nodule?", pixels) + policy.reply_ids("Yes, on the left.")[0]
    logits = read(policy, ids, pixels)
    expected = policy.model(**forward_inputs(policy, ids, pixels)).logits[0]
    assert logits.shape == expected.shape
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.01, "a constant would pass"


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_images_matter_and_later_tokens_do_not(
    name: str, policy_of: Callable[[str], Policy], images: list[Image.Image]
) -> None:
    policy = policy_of(name)
    pixels, other = policy.pixels(images[:1]), policy.pixels([images[0].transpose(Image.Transpose.ROTATE_180)])
    prompt = policy.prompt_ids("Is there a nodule?", pixels)
    yes, no = policy.reply_ids("Yes.")[0], policy.reply_ids("No.")[0]
    here, there = read(policy, prompt + yes, pixels), read(policy, prompt + yes, other)
    assert (here[len(prompt) :] - there[len(prompt) :]).abs().max() > 1e-6
    torch.testing.assert_close(here[: len(prompt)], read(policy, prompt + no, pixels)[: len(prompt)])


@pytest.mark.parametrize("name", NAMES)
def test_parameters_fall_into_tower_projector_and_the_rest(name: str, policy_of: Callable[[str], Policy]) -> None:
    policy = policy_of(name)
    tower = {id(value) for value in policy.family.tower_parameters(policy.model)}
    projector = {id(value) for value in policy.family.projector_parameters(policy.model)}
    language = {id(value) for value in _language(policy).parameters()}
    head = {id(value) for value in policy.family.head(policy.model).parameters()}
    everything = {id(value) for value in policy.model.parameters()}
    assert tower
    assert projector
    assert not tower & projector
    assert tower | projector | language | head == everything


@pytest.mark.parametrize("name", NAMES)
def test_lora_targets_are_the_language_models_linears(name: str, policy_of: Callable[[str], Policy]) -> None:
    policy = policy_of(name)
    wrapped = get_peft_model(copy.deepcopy(policy.model), LoraConfig(r=2, target_modules=policy.family.lora_targets))
    adapted = {key.split(".lora_A")[0] for key, _ in wrapped.named_modules() if key.endswith("lora_A.default")}
    language = _language(policy)
    linears = {key for key, module in language.named_modules() if isinstance(module, nn.Linear)}
    assert len(linears) == 7 * language.config.num_hidden_layers
    assert adapted == {f"base_model.model.{policy.family.language}.{key}" for key in linears}
    assert policy.family.head(wrapped) is wrapped.get_base_model().get_output_embeddings()


def _language(policy: Policy) -> nn.Module:
    return policy.base.get_submodule(policy.family.language)


def test_images_of_all_sizes_are_tiled(policy_of: Callable[[str], Policy], images: list[Image.Image]) -> None:
    """The tiled families must have met more than one tile an image, or their tests show little."""
    shapes = {name: policy_of(name).pixels(images[:2]) for name in ("llava-next", "internvl", "idefics3", "smolvlm")}
    assert shapes["llava-next"]["pixel_values"].shape[:2] == (2, 5)
    assert shapes["llava-next"]["image_sizes"].tolist() == [[96, 96], [130, 90]]
    assert shapes["internvl"]["num_patches"].tolist() == [1, 3]
    assert shapes["idefics3"]["rows"].tolist() == shapes["smolvlm"]["rows"].tolist() == [[2, 2]]


@torch.no_grad()
def test_gemma_images_see_themselves_both_ways(policy_of: Callable[[str], Policy], images: list[Image.Image]) -> None:
    policy = policy_of("gemma3")
    pixels = policy.pixels(images[:1])
    ids = policy.prompt_ids("What?", pixels)
    token = policy.family.image_token_id(policy.model)
    first = ids.index(token)
    features = policy.family.features(policy.model, pixels)
    moved = features.clone()
    moved[-1] += 1

    def hidden(rows: Tensor) -> Tensor:
        embeds = policy.family.embed(policy.model, torch.tensor(ids), rows)[None]
        mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()[None, None]
        positions = torch.arange(len(ids))[None, None]
        return policy.family.hidden(policy.model, embeds, mask, positions, ids=torch.tensor([ids]))[0]

    change = (hidden(moved) - hidden(features)).abs().amax(dim=-1)
    assert change[first] > 1e-4, "the first image token sees the last"
    assert change[:first].max() == 0
    with pytest.raises(ValueError, match="needs ids"):
        policy.family.hidden(
            policy.model, features[None], torch.ones(1, 1, 16, 16).bool(), torch.arange(16)[None, None]
        )


def test_embed_refuses_a_wrong_number_of_features(
    policy_of: Callable[[str], Policy], images: list[Image.Image]
) -> None:
    policy = policy_of("llava-mistral")
    pixels = policy.pixels(images[:1])
    ids = torch.tensor(policy.prompt_ids("What?", pixels))
    features = policy.family.features(policy.model, pixels)
    with pytest.raises(ValueError, match="64 image tokens, but 63 rows"):
        policy.family.embed(policy.model, ids, features[1:])


@torch.no_grad()
def test_qwen_positions_equal_the_models_own(policy_of: Callable[[str], Policy], images: list[Image.Image]) -> None:
    policy = policy_of("qwen2_5_vl")
    pixels = policy.pixels(images[:3])
    ids = policy.prompt_ids("Compare.", pixels)
    inputs = forward_inputs(policy, ids, pixels)
    del inputs["pixel_values"]
    expected, delta = policy.model.model.get_rope_index(**inputs)
    got = policy.family.positions(policy.model, ids, pixels)
    assert torch.equal(got, expected[:, 0])
    assert int(got.max()) + 1 - len(ids) == int(delta)


def test_grid_positions_by_hand() -> None:
    got = grid_positions([7, 9, 9, 9, 9, 9, 9, 7, 7], 9, [(2, 3)])
    assert got.tolist() == [[0, 1, 1, 1, 1, 1, 1, 4, 5], [0, 1, 1, 1, 2, 2, 2, 4, 5], [0, 1, 2, 3, 1, 2, 3, 4, 5]]


@torch.no_grad()
def test_sliding_window_and_eager_attention(images: list[Image.Image]) -> None:
    policy = load_policy("tiny:llava-mistral@random:1")
    pixels = policy.pixels(images[:1])
    ids = policy.prompt_ids("Is there a nodule?", pixels)
    plain = read(policy, ids, pixels)
    policy.model.set_attn_implementation("eager")
    torch.testing.assert_close(read(policy, ids, pixels), plain, atol=1e-5, rtol=1e-5)
    policy.model.set_attn_implementation("sdpa")
    policy.model.config.text_config.sliding_window = 8
    narrow = read(policy, ids, pixels)
    assert (narrow - plain).abs().max() > 1e-4
    expected = policy.model(**forward_inputs(policy, ids, pixels)).logits[0]
    torch.testing.assert_close(narrow, expected, atol=1e-5, rtol=1e-5)


def test_same_image_by_hand() -> None:
    got = same_image(torch.tensor([[5, 9, 9, 5, 9]]), 9, keys=6)[0, 0].int().tolist()
    assert got == [[0] * 6, [0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0] * 6, [0, 0, 0, 0, 0, 1]]


def test_unknown_family_names_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'llava"):
        family_of("llavva", where="test")
    kinds = [kind for family in FAMILIES for kind in family.model_types]
    assert len(kinds) == len(set(kinds))
