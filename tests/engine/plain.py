"""The oracle: one branch at a time through the model's own forward with full logits, nothing shared or cached."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medpref.engine.encode import EncodedBranch, encode_pair
from medpref.engine.images import ImageStore
from medpref.models.policy import Policy, load_policy
from medpref.objectives.scores import Needs
from medpref.schema import Branch, ImageRef, PreferencePair, Reply, Span
from medpref.store import file_digest

FAMILIES = ("llava-mistral", "llava-qwen2", "qwen2_5_vl")
OTHERS = ("llava-next", "qwen2_vl", "qwen3_vl", "gemma3", "internvl", "idefics3", "smolvlm")
CC, CR, XC, XR = (Branch(view, reply) for view in ("clean", "corrupt") for reply in ("chosen", "rejected"))
TEXTS = (
    ("Is there a nodule?", "Yes, there is one nodule.", "No, there is one nodule."),
    ("Is there a nodule?", "Yes, in the left lung.", "Yes, there is one nodule."),
    ("Which side is it on?", "Left.", "Right upper zone."),
    ("Describe the heart.", "The heart is enlarged.", "Normal."),
)


def _stay(module: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    gemma = hasattr(module, "eps")
    scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + (module.eps if gemma else module.variance_epsilon))
    return (1 + module.weight if gemma else module.weight) * (hidden * scale)


def tiny_policy(name: str, dtype: str = "float64", *, seed: int = 0) -> Policy:
    """A random tiny policy with weights large enough to matter; in float64 its norms stay in float64."""
    policy = load_policy(f"tiny:{name}@random:{seed}", dtype=dtype)
    draws = torch.Generator().manual_seed(seed + 1)
    for parameter in policy.base.parameters():
        noise = torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
        parameter.data.add_((noise * (0.09 if parameter.ndim > 1 else 0.02)).to(parameter.dtype))
    if dtype == "float64":
        for module in policy.base.modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.forward = types.MethodType(_stay, module)
    return policy


def draw_images(root: Path, count: int = 4) -> list[ImageRef]:
    """Noise images of different shapes, written to ``root``."""
    rng, refs = np.random.default_rng(7), []
    for number in range(count):
        path = root / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (72 + 12 * number, 84), dtype=np.uint8)).save(path)
        refs.append(ImageRef(path=path.name, sha256=file_digest(path)))
    return refs


def draw_pairs(refs: list[ImageRef]) -> list[PreferencePair]:
    """Five pairs: two images, 3 + 2 questions; the first two have a corrupt view; the last has no rejected reply."""
    pairs = []
    for number, (question, chosen, rejected) in enumerate((*TEXTS, TEXTS[0])):
        views = {"clean": (refs[0 if number < 3 else 1],)} | ({"corrupt": (refs[2],)} if number < 2 else {})
        replies = {"chosen": Reply(text=chosen, spans=(Span(start=0, end=3),)), "rejected": Reply(text=rejected)}
        if number == 4:
            del replies["rejected"]
        pairs.append(
            PreferencePair(id=f"p{number}", example="e", patient="x", question=question, views=views, replies=replies)
        )
    return pairs


def encode_all(policy: Policy, root: Path, pairs: list[PreferencePair], needs: Needs, store: ImageStore) -> list:
    return [encode_pair(policy, pair, root, needs, store) for pair in pairs]


def full_log_probs(policy: Policy, branch: EncodedBranch, store: ImageStore) -> torch.Tensor:
    """Log-softmax of the model's own logits at the positions that predict the reply, ``[token, vocabulary]``."""
    ids = torch.tensor([branch.prompt + branch.reply_ids])
    pixels = {
        name: value.to(policy.base.dtype) if value.is_floating_point() else value
        for name, value in store.pixels(branch.images).items()
    }
    image = (ids == policy.family.image_token_id(policy.base)).int()
    if "image_grid_thw" in pixels:
        pixels["mm_token_type_ids"] = image
    if policy.family.bidirectional_images:
        pixels["token_type_ids"] = image
    logits = policy.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **pixels).logits[0]
    start = len(branch.prompt) - 1
    return logits[start : start + len(branch.reply_ids)].log_softmax(-1)


def plain_log_probs(policy: Policy, branch: EncodedBranch, store: ImageStore) -> torch.Tensor:
    every = full_log_probs(policy, branch, store)
    return every.gather(1, torch.tensor(branch.reply_ids)[:, None]).squeeze(1)


def gradients(policy: Policy, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradient of every trained parameter that the loss reaches."""
    named = [(name, value) for name, value in policy.model.named_parameters() if value.requires_grad]
    found = torch.autograd.grad(loss, [value for _, value in named], allow_unused=True, retain_graph=True)
    return {name: grad for (name, _), grad in zip(named, found, strict=True) if grad is not None}


def relative(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """The distance of two gradients over the norm of the second."""
    assert first.keys() == second.keys()
    gap = sum(float((first[name].double() - second[name].double()).pow(2).sum()) for name in second)
    return (gap / sum(float(value.double().pow(2).sum()) for value in second.values())) ** 0.5
