"""Replies to requests: batched decoding with a key-value cache, greedy or sampled.

Each distinct image set goes through tower and projector once, the tokens that its questions share (image, template)
through the language model once, and the ``n`` replies to a request share its prefill. What a request draws depends
on ``(seed, request id, reply index)`` alone, not on its neighbours, their order or the batch size.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from medpref.models.policy import Policy
from medpref.models.prefill import Prompt, Rows, prefill, step
from medpref.seeds import generator


class Request(NamedTuple):
    """One question about one study's images."""

    id: str
    images: tuple[Image.Image, ...]
    question: str


class Generated(NamedTuple):
    """A reply; ``ids`` and ``log_probs`` (nats, of the untempered distribution) include the end token if it came."""

    text: str
    ids: tuple[int, ...]
    log_probs: tuple[float, ...]


@dataclass
class _Draft:
    """A reply being written."""

    rng: np.random.Generator
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)


def generate(
    policy: Policy,
    requests: Sequence[Request],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    n: int = 1,
    seed: int = 0,
    batch_tokens: int = 16384,
) -> Iterator[list[Generated]]:
    """``n`` replies to each request, in request order.

    ``temperature`` 0 is greedy (all ``n`` are the same); ``top_p`` keeps the smallest set of tokens that holds this
    much probability. ``batch_tokens`` bounds prompt and reply slots decoded together.
    """
    copies = 1 if temperature == 0 else n
    finished: dict[int, list[Generated]] = {}
    waiting = 0
    features: dict[str, Tensor] = {}
    for batch in _batches(policy, requests, features, slots=batch_tokens, room=max_new_tokens, copies=copies):
        drafts = [
            _Draft(generator(seed, "generate", prompt.id, str(copy))) for prompt in batch for copy in range(copies)
        ]
        with torch.no_grad(), _evaluating(policy.model):
            rows, hidden = prefill(policy, batch, features, copies=copies)
            _decode(policy, rows, hidden, drafts, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
        for index, prompt in enumerate(batch):
            mine = drafts[index * copies : (index + 1) * copies]
            replies = [Generated(policy.decode(d.ids), tuple(d.ids), tuple(d.log_probs)) for d in mine]
            finished[prompt.place] = replies if copies == n else replies * n
        while waiting in finished:
            yield finished.pop(waiting)
            waiting += 1


def _batches(
    policy: Policy, requests: Sequence[Request], features: dict[str, Tensor], *, slots: int, room: int, copies: int
) -> Iterator[list[Prompt]]:
    """Prompts in batches of at most ``slots`` padded slots, those of one image set together.

    ``features`` holds the image features of the batch that is out, and no others.
    """
    places: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        places.setdefault(_image_key(request.images), []).append(place)
    batch: list[Prompt] = []
    longest = 0
    for key, group in places.items():
        pixels = policy.pixels(requests[group[0]].images)
        with torch.no_grad(), _evaluating(policy.model):
            features[key] = policy.family.features(policy.model, pixels)
        for place in group:
            ids = policy.prompt_ids(requests[place].question, pixels)
            longest = max(longest, len(ids))
            if batch and (len(batch) + 1) * copies * (longest + room) > slots:
                yield batch
                for old in {prompt.images for prompt in batch} - {key}:
                    del features[old]
                batch, longest = [], len(ids)
            positions = policy.family.positions(policy.model, ids, pixels)
            batch.append(Prompt(place, requests[place].id, key, ids, positions))
    if batch:
        yield batch


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Without dropout while replies are written; a model in training goes back to it."""
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)


def _image_key(images: Sequence[Image.Image]) -> str:
    sha = hashlib.sha256()
    for image in images:
        sha.update(f"{image.mode}{image.size}".encode())
        sha.update(image.tobytes())
    return sha.hexdigest()


def _decode(
    policy: Policy,
    rows: Rows,
    hidden: Tensor,
    drafts: list[_Draft],
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
) -> None:
    """Write every draft until its end token or ``max_new_tokens``; finished rows leave the batch now and then."""
    head, ends, axes = policy.family.head(policy.model), _end_tokens(policy), policy.family.axes
    alive = list(range(len(drafts)))
    for count in range(1, max_new_tokens + 1):
        log_probs = head(hidden).float().log_softmax(dim=-1)
        uniforms = [drafts[index].rng.random() for index in alive] if temperature > 0 else None
        tokens = _choose(log_probs, uniforms, temperature=temperature, top_p=top_p)
        chosen = log_probs.gather(1, tokens[:, None])[:, 0].tolist()
        for index, token, value in zip(alive, tokens.tolist(), chosen, strict=True):
            if not drafts[index].ids or drafts[index].ids[-1] not in ends:
                drafts[index].ids.append(token)
                drafts[index].log_probs.append(value)
        going = [row for row, index in enumerate(alive) if drafts[index].ids[-1] not in ends]
        if not going or count == max_new_tokens:
            return
        if len(going) <= 0.75 * len(alive):
            keep = torch.tensor(going, device=hidden.device)
            rows.take(keep)
            tokens, alive = tokens[keep], [alive[row] for row in going]
        ids, valid = tokens[:, None], torch.ones(len(alive), 1, dtype=torch.bool, device=hidden.device)
        place = rows.following[None, :, None].expand(axes, -1, -1)
        rows.following = rows.following + 1
        hidden = step(policy, rows, policy.family.embed_text(policy.model, ids), place, ids=ids, valid=valid)


def _choose(log_probs: Tensor, uniforms: list[float] | None, *, temperature: float, top_p: float) -> Tensor:
    """The most likely tokens, or those that ``uniforms`` pick by inverse CDF from the tempered, cut distribution.

    The CDF runs in the order of ids, not of probability: rounding that swaps two equal tokens moves no draw.
    """
    if uniforms is None:
        return log_probs.argmax(dim=-1)
    probs = (log_probs.double() / temperature).softmax(dim=-1)
    ranked, order = probs.sort(dim=-1, descending=True)
    inside = torch.zeros_like(probs, dtype=torch.bool).scatter(1, order, (ranked.cumsum(dim=-1) - ranked) < top_p)
    reached = (probs * inside).cumsum(dim=-1)
    draws = torch.tensor(uniforms, dtype=torch.float64, device=probs.device)[:, None] * reached[:, -1:] * (1 - 1e-12)
    return (reached > draws).int().argmax(dim=-1)


def _end_tokens(policy: Policy) -> frozenset[int]:
    """The template's end-of-turn token and whatever else the checkpoint says ends a reply."""
    named = getattr(policy.base.generation_config, "eos_token_id", None)
    listed = named if isinstance(named, list) else [named]
    return frozenset(
        int(token) for token in (policy.turn.end, policy.tokenizer.eos_token_id, *listed) if token is not None
    )
