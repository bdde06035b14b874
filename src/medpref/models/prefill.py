"""Prompts against a key-value cache: what the prompts of one image set share is computed once, then repeated.

The cache's keys may lie in any pattern of tokens and padding: masks and positions are explicit, so nothing depends on
how a batch was put together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from medpref.models.policy import Policy


class Prompt(NamedTuple):
    """A request ready to decode: its place among the requests, its image set, ids and positions ``[axes, token]``."""

    place: int
    id: str
    images: str
    ids: list[int]
    positions: Tensor


@dataclass
class Rows:
    """A batch in flight: the cache, which of its keys are tokens, their positions, and the next positions."""

    cache: Any
    valid: Tensor
    keys: Tensor
    following: Tensor

    def take(self, index: Tensor) -> None:
        """Keep (or repeat) the rows in ``index``."""
        self.cache.batch_select_indices(index)
        self.valid, self.keys, self.following = self.valid[index], self.keys[index], self.following[index]


def prefill(
    policy: Policy, batch: Sequence[Prompt], features: Mapping[str, Tensor], *, copies: int
) -> tuple[Rows, Tensor]:
    """The rows of a batch, ``copies`` of each prompt, and the hidden state ``[row, width]`` of each one's last token.

    What the prompts of one image set have in common at their start is computed once, then repeated.
    """
    groups: dict[str, list[Prompt]] = {}
    for prompt in batch:
        groups.setdefault(prompt.images, []).append(prompt)
    shared = {key: _common([prompt.ids for prompt in group]) for key, group in groups.items()}
    heads = [(group[0], 0, shared[key]) for key, group in groups.items()]
    device = policy.device
    empty = torch.zeros(len(heads), 0, dtype=torch.long, device=device)
    rows = Rows(DynamicCache(), empty.bool(), empty, torch.zeros(len(heads), dtype=torch.long, device=device))
    if max(shared.values()) > 0:
        _extend(policy, rows, heads, features)
    order = list(groups)
    rows.take(torch.tensor([order.index(prompt.images) for prompt in batch], device=device))
    hidden = _extend(policy, rows, [(prompt, shared[prompt.images], len(prompt.ids)) for prompt in batch], features)
    repeat = torch.arange(len(batch), device=device).repeat_interleave(copies)
    if copies > 1:
        rows.take(repeat)
    return rows, hidden[repeat]


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts start with, leaving each at least its last token."""
    limit = min(map(len, prompts)) - 1
    first = prompts[0]
    return next((at for at in range(limit) if any(ids[at] != first[at] for ids in prompts)), limit)


def _extend(
    policy: Policy, rows: Rows, pieces: Sequence[tuple[Prompt, int, int]], features: Mapping[str, Tensor]
) -> Tensor:
    """Feed tokens ``[start, end)`` of each row's prompt, left-padded; the last hidden states ``[row, width]``."""
    family, model, device = policy.family, policy.model, policy.device
    token = family.image_token_id(model)
    width = max(end - start for _, start, end in pieces)
    embeds, positions, ids, valid = [], [], [], []
    for prompt, start, end in pieces:
        part = torch.tensor(prompt.ids[start:end], device=device)
        seen, here = prompt.ids[:start].count(token), prompt.ids[start:end].count(token)
        blank = width - (end - start)
        embedded = family.embed(model, part, features[prompt.images][seen : seen + here])
        embeds.append(pad(embedded, (0, 0, blank, 0)))
        positions.append(pad(prompt.positions[:, start:end].to(device), (blank, 0)))
        ids.append(pad(part, (blank, 0), value=-1))
        valid.append(torch.arange(width, device=device) >= blank)
    rows.following = torch.tensor([_following(p, end) for p, _, end in pieces], device=device)
    return step(
        policy, rows, torch.stack(embeds), torch.stack(positions, dim=1), ids=torch.stack(ids), valid=torch.stack(valid)
    )


def _following(prompt: Prompt, end: int) -> int:
    """The position of text that follows the first ``end`` tokens."""
    return int(prompt.positions[:, :end].max()) + 1 if end else 0


def step(policy: Policy, rows: Rows, embeds: Tensor, positions: Tensor, *, ids: Tensor, valid: Tensor) -> Tensor:
    """Run a block of tokens against the cache; the hidden states of its last column ``[row, width]``."""
    new, old = valid.shape[1], rows.valid.shape[1]
    rows.valid = torch.cat([rows.valid, valid], dim=1)
    rows.keys = torch.cat([rows.keys, positions[0]], dim=1)
    causal = torch.ones(new, old + new, dtype=torch.bool, device=valid.device).tril(old)
    itself = torch.eye(new, dtype=torch.bool, device=valid.device)
    mask = causal & rows.valid[:, None, :]
    mask[:, :, old:] |= itself
    hidden = policy.family.hidden(
        policy.model,
        embeds,
        mask.unsqueeze(1),
        positions,
        ids=ids,
        key_positions=rows.keys,
        past_key_values=rows.cache,
        use_cache=True,
    )
    return hidden[:, -1]
