"""Twenty optimiser steps on the shared layout end where twenty on the plain one do."""

from __future__ import annotations

import torch

from medpref.engine.images import ImageStore
from medpref.engine.score import score
from medpref.objectives.scores import Needs

from .plain import CC, CR, encode_all, plain_log_probs, tiny_policy

NEEDS = Needs(branches=frozenset({CC, CR}))


def shallow_policy():
    """Two decoder layers, of which the second is trained."""
    policy = tiny_policy("llava-mistral", "float32")
    language = policy.base.model.language_model
    language.layers = language.layers[:2]
    language.config.num_hidden_layers = 2
    for parameter in policy.base.parameters():
        parameter.requires_grad_(False)
    trained = list(language.layers[1].parameters())
    for parameter in trained:
        parameter.requires_grad_(True)
    return policy, trained


def flat(values):
    return torch.cat([value.detach().flatten() for value in values])


def twenty_steps(root, pairs, margins):
    """Weights before and after AdamW on -log s(0.1 (L_chosen - L_rejected)); ``margins`` computes the brackets."""
    policy, trained = shallow_policy()
    store, before = ImageStore(policy), flat(trained)
    encoded = encode_all(policy, root, pairs, NEEDS, store)
    optimiser = torch.optim.AdamW(trained, lr=1e-4, eps=1e-6)
    for _ in range(20):
        optimiser.zero_grad()
        sum(-torch.nn.functional.logsigmoid(0.1 * margin) for margin in margins(policy, encoded, store)).backward()
        optimiser.step()
    return before, flat(trained)


def shared(policy, encoded, store):
    scores = score(policy, encoded, NEEDS, images=store)
    return scores[CC].policy.sum(1) - scores[CR].policy.sum(1)


def plain(policy, encoded, store):
    for pair in encoded:
        chosen, rejected = (plain_log_probs(policy, pair.branches[branch], store).sum() for branch in (CC, CR))
        yield chosen - rejected


def test_twenty_steps_drift_less_than_a_hundred_thousandth(root, pairs):
    before, ours = twenty_steps(root, pairs[1:3], shared)
    _, theirs = twenty_steps(root, pairs[1:3], plain)
    assert (theirs - before).norm() > 1e-3 * before.norm()
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
