"""Loading, saving, hashing and prompting a policy."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file

from medpref.errors import DataError, ModelError
from medpref.models import tiny, tiny_shipped
from medpref.models.policy import Policy, load_policy, save_policy
from medpref.models.tiny import BUILDERS, save_base

NAMES = sorted(BUILDERS)
SHIPPED = ("llava-mistral", "llava-qwen2", "qwen2_5_vl")


def same_weights(a: Policy, b: Policy) -> bool:
    left, right = a.model.state_dict(), b.model.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("name", NAMES)
def test_save_and_load_give_the_same_policy_bit_for_bit(
    name: str, policy_of: Callable[[str], Policy], images: list[Image.Image], tmp_path: Path
) -> None:
    policy = policy_of(name)
    save_policy(policy, tmp_path / "saved")
    for spec in (str(tmp_path / "saved"), f"hf:{tmp_path / 'saved'}"):
        again = load_policy(spec)
        assert same_weights(policy, again)
        assert again.weights_hash() == policy.weights_hash()
        assert again.turn == policy.turn
        pixels, other = policy.pixels(images[:2]), again.pixels(images[:2])
        assert pixels.keys() == other.keys()
        assert all(torch.equal(pixels[key], other[key]) for key in pixels)
        assert policy.prompt_ids("Where?", pixels) == again.prompt_ids("Where?", other)
        assert policy.reply_ids("On the left.") == again.reply_ids("On the left.")


@pytest.mark.parametrize("name", SHIPPED)
def test_tiny_models_are_small_and_give_about_sixty_image_tokens(
    name: str, policy_of: Callable[[str], Policy], images: list[Image.Image], tmp_path: Path
) -> None:
    policy = policy_of(name)
    assert 1_000_000 < sum(value.numel() for value in policy.model.parameters()) < 3_000_000
    for image in images:
        tokens = len(policy.family.features(policy.model, policy.pixels([image])))
        assert 40 <= tokens <= 64
    save_base(policy, tmp_path / name)
    assert (tmp_path / name / "model.safetensors").stat().st_size < 4_000_000


def test_a_base_is_half_precision_on_disk_and_single_in_memory(
    policy_of: Callable[[str], Policy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of("llava-mistral")
    save_base(policy, tmp_path / "llava-mistral")
    held = load_file(tmp_path / "llava-mistral" / "model.safetensors")
    assert {value.dtype for value in held.values()} == {torch.float16}
    monkeypatch.setattr(tiny, "BASES", tmp_path)
    base = load_policy("tiny:llava-mistral")
    assert {value.dtype for value in base.model.parameters()} == {torch.float32}
    for name, value in base.model.state_dict().items():
        assert torch.equal(value, policy.model.state_dict()[name].half().float())
    assert load_policy("tiny:llava-mistral", dtype="bfloat16").model.dtype is torch.bfloat16
    save_base(base, tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(again[key], held[key]) for key in held)


def test_seeds_make_and_remake_random_policies() -> None:
    before = torch.get_rng_state()
    first, again, other = (load_policy(f"tiny:llava-qwen2@random{s}") for s in ("", ":0", ":3"))
    assert torch.equal(before, torch.get_rng_state()), "building must not move the global generator"
    assert first.weights_hash() == again.weights_hash() != other.weights_hash()


def test_hash_sees_every_change(tmp_path: Path) -> None:
    policy = load_policy("tiny:llava-mistral@random")
    seen = {policy.weights_hash()}
    processor = policy.processor
    for changed in (
        dataclasses.replace(processor, chat_template=str(processor.chat_template) + " "),
        dataclasses.replace(processor, fields={**processor.fields, "patch_size": 6}),
    ):
        seen.add(dataclasses.replace(policy, processor=changed).weights_hash())
    processor.image_processor.image_mean = [0.5, 0.5, 0.5]
    seen.add(policy.weights_hash())
    policy.model.config.vision_feature_layer = -2
    seen.add(policy.weights_hash())
    with torch.no_grad():
        policy.model.get_output_embeddings().weight[3, 3] += 1e-7
    seen.add(policy.weights_hash())
    assert len(seen) == 6
    wrapped = get_peft_model(policy.model, LoraConfig(r=2, target_modules=policy.family.lora_targets))
    adapted = dataclasses.replace(policy, model=wrapped)
    seen.add(adapted.weights_hash())
    assert adapted.base is policy.model
    with torch.no_grad():
        next(value for name, value in wrapped.named_parameters() if "lora_B" in name)[0, 0] = 1
    seen.add(adapted.weights_hash())
    assert len(seen) == 8


def adapt(policy: Policy, folder: Path, *, seed: int) -> None:
    """Save a LoRA adapter with random weights over a policy."""
    wrapped = get_peft_model(policy.model, LoraConfig(r=2, target_modules=policy.family.lora_targets))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in wrapped.named_parameters():
            if "lora_" in name:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    save_policy(dataclasses.replace(policy, model=wrapped), folder)


def logits(policy: Policy, images: list[Image.Image]) -> torch.Tensor:
    pixels = policy.pixels(images[:1])
    ids = torch.tensor([policy.prompt_ids("What?", pixels)])
    with torch.no_grad():
        return policy.model(input_ids=ids, **pixels).logits


def test_adapters_are_merged_to_any_depth_and_survive_a_move(images: list[Image.Image], tmp_path: Path) -> None:
    run = tmp_path / "run"
    base = load_policy("tiny:llava-mistral@random:4")
    plain = logits(base, images)
    adapt(base, run / "sft", seed=1)
    sft = load_policy(str(run / "sft"))
    assert json.loads((run / "sft" / "adapter_config.json").read_text())["base_model_name_or_path"] == base.spec
    assert (logits(sft, images) - plain).abs().max() > 1e-3
    assert not any("lora" in name for name, _ in sft.model.named_parameters())
    by_peft = load_policy("tiny:llava-mistral@random:4")
    live = load_adapter_live(by_peft, run / "sft")
    torch.testing.assert_close(logits(sft, images), logits(live, images), atol=1e-5, rtol=1e-5)
    adapt(sft, run / "dpo", seed=2)
    dpo = load_policy(str(run / "dpo"))
    moved = tmp_path / "elsewhere"
    shutil.move(run, moved)
    again = load_policy(str(moved / "dpo"))
    assert same_weights(dpo, again)
    assert not same_weights(dpo, load_policy(str(moved / "sft")))
    shutil.rmtree(moved / "sft")
    with pytest.raises(ModelError, match="no such folder"):
        load_policy(str(moved / "dpo"))


def load_adapter_live(policy: Policy, folder: Path) -> Policy:
    """The adapter beside its base, unmerged, as PEFT alone reads it."""
    from peft import PeftModel

    return dataclasses.replace(policy, model=PeftModel.from_pretrained(policy.model, str(folder)))


@pytest.mark.parametrize("name", ["llava-mistral", "llava-next", "gemma3", "idefics3"])
def test_transformers_own_processor_reads_what_we_save(
    name: str, policy_of: Callable[[str], Policy], images: list[Image.Image], tmp_path: Path
) -> None:
    from transformers import AutoProcessor

    policy = policy_of(name)
    save_policy(policy, tmp_path / "saved")
    processor = AutoProcessor.from_pretrained(tmp_path / "saved")
    assert type(processor).__name__ == policy.processor.fields["processor_class"]
    parts = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Compare."}]
    text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    rgb = [image.convert("RGB") for image in images[:2]]
    batch = processor(images=rgb, text=text, return_tensors="pt", add_special_tokens=False)
    pixels = policy.pixels(images[:2])
    assert batch["input_ids"][0].tolist() == policy.prompt_ids("Compare.", pixels)
    assert torch.equal(batch["pixel_values"], pixels["pixel_values"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["Yes, a small nodule.", " leading and trailing ", "肺 </s> <image>", "a\n\nb"])
def test_decode_undoes_reply_ids(name: str, text: str, policy_of: Callable[[str], Policy]) -> None:
    policy = policy_of(name)
    assert policy.decode(policy.reply_ids(text)[0]) == text
    assert policy.decode([*policy.reply_ids(text)[0], 7, 8]) == text, "nothing after the end token counts"


def test_prompt_holds_each_image_and_the_question(
    policy_of: Callable[[str], Policy], images: list[Image.Image]
) -> None:
    policy = policy_of("llava-mistral")
    ids = policy.prompt_ids("Is it new?", policy.pixels(images[:2]))
    token = policy.family.image_token_id(policy.model)
    assert ids.count(token) == 128
    text = policy.tokenizer.decode([i for i in ids if i != token])
    assert text == "<s>USER: \n\nIs it new?\nASSISTANT:\n"
    assert ids.count(policy.tokenizer.bos_token_id) == 1


def test_a_question_with_a_special_token_is_refused(
    policy_of: Callable[[str], Policy], images: list[Image.Image]
) -> None:
    policy = policy_of("llava-mistral")
    with pytest.raises(DataError, match="the special token '<image>'"):
        policy.prompt_ids("What is <image>?", policy.pixels(images[:1]))
    with pytest.raises(DataError, match="no image"):
        policy.pixels([])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tiny:llava-mistrel", "did you mean 'llava-mistral'"),
        ("tiny:llava-mistrel@random", "did you mean 'llava-mistral'"),
        ("tiny:llava-mistral@pretrained", "expected @random or @random:SEED"),
        ("tiny:llava-mistral@random:x", "expected @random or @random:SEED"),
        ("/no/such/folder", "no such folder; expected a checkpoint folder"),
        ("hf:./nothing/here", "no such folder"),
        ("llava", "no such folder"),
    ],
)
def test_specs_that_name_nothing(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_policy(spec)


def test_a_template_without_the_image_is_refused(policy_of: Callable[[str], Policy], images: list[Image.Image]) -> None:
    policy = policy_of("llava-mistral")
    silent = dataclasses.replace(policy.processor, chat_template=tiny_shipped.LLAVA_TEMPLATE.replace("<image>", ""))
    with pytest.raises(ModelError, match="writes '<image>' 0 times for 2 images"):
        dataclasses.replace(policy, processor=silent).prompt_ids("What?", policy.pixels(images[:2]))


def test_a_missing_base_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "BASES", tmp_path)
    with pytest.raises(ModelError, match="make phantom-base"):
        load_policy("tiny:llava-mistral")


def test_checkpoints_that_cannot_be_used(policy_of: Callable[[str], Policy], tmp_path: Path) -> None:
    save_policy(policy_of("llava-mistral"), tmp_path)
    weights = tmp_path / "model.safetensors"
    torch.save(load_file(weights), tmp_path / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(ModelError, match="expected an image-text checkpoint with safetensors weights"):
        load_policy(str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config["text_config"]))
    with pytest.raises(ModelError, match="model type 'mistral'; expected a vision-language model"):
        load_policy(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError):
        load_policy(str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelError, match="config"):
        load_policy(str(tmp_path))
    with pytest.raises(ModelError, match="dtype 'half precision'"):
        load_policy("tiny:llava-mistral@random", dtype="half precision")


def test_an_adapter_without_a_base_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="an adapter that names no base"):
        load_policy(str(tmp_path))
