"""The sign of the token KL, by training: from a policy away from its reference, the term alone brings it back.

Two papers print the term with a minus inside a loss that is minimised; trained like that, the policy runs away.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medpref import store
from medpref.engine.encode import EncodedPair, encode_pair
from medpref.engine.images import ImageStore
from medpref.engine.score import score
from medpref.imaging.decode import encode_png
from medpref.models.policy import Policy, load_policy
from medpref.objectives import Totals, parse_objective
from medpref.recipe import Lora, Train
from medpref.schema import ImageRef, PreferencePair, Reply
from medpref.training.adapter import prepare

TEXTS = ("Small left effusion.", "No nodule.", "The heart is enlarged.")


def away_from_reference() -> Policy:
    """A tiny policy whose adapter, zero at the start, has been moved."""
    policy = prepare(load_policy("tiny:llava-mistral@random"), Train(lora=Lora(r=4, alpha=8)), seed=0)
    noise = torch.Generator().manual_seed(0)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=noise)
    return policy


def encoded(policy: Policy, root: Path, images: ImageStore, objective: object) -> list[EncodedPair]:
    data = encode_png(np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8))
    ref = ImageRef(path=store.put_blob(root, data, ".png"), sha256=store.digest(data))
    pairs = [
        PreferencePair(
            id=text, example=text, patient="x", question="What is seen?", views={"clean": (ref,)},
            replies={"chosen": Reply(text=text)},
        )
        for text in TEXTS
    ]  # fmt: skip
    return [encode_pair(policy, pair, root, objective.needs, images) for pair in pairs]  # type: ignore[attr-defined]


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_training_the_token_kl_alone_moves_the_policy_to_the_reference(tmp_path: Path, direction: str) -> None:
    ends = {}
    for sign in (1.0, -1.0):
        policy = away_from_reference()
        images = ImageStore(policy)
        objective = parse_objective([{"kind": "token_kl", "branch": "clean/chosen", direction: 1.0}])
        pairs = encoded(policy, tmp_path, images, objective)
        weights, totals = torch.ones(len(pairs)), Totals(len(pairs))
        adapter = [p for p in policy.model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(adapter, lr=0.01)
        run = []
        for _ in range(8):
            scores = score(policy, pairs, objective.needs, images=images, reference="online")
            kl = objective(scores, weights, totals).per_pair.sum() / totals.pairs
            run.append(float(kl.detach()))
            optimizer.zero_grad()
            (sign * kl).backward()
            torch.nn.utils.clip_grad_norm_(adapter, 1.0)
            optimizer.step()
        ends[sign] = run
    assert ends[1.0][0] == ends[-1.0][0] > 0.1
    assert all(later < earlier for earlier, later in zip(ends[1.0], ends[1.0][1:], strict=False))
    assert ends[1.0][-1] < 0.8 * ends[1.0][0]
    assert ends[-1.0][-1] > ends[-1.0][0]
