"""What a micro-step costs, predicted from the model's outline and the forest's sizes: FLOPs and bytes. No clock.

A multiply-add is two FLOPs. A token costs the linears of every layer once forward and once backward (the gradient with
respect to their input; a trained weight costs once more), and attention ``4 width`` FLOPs forward and ``10 width``
backward (the scores are made again) for every token it sees; in the last layer most linears, and the queries of the
cascade back end, count only for the rows that the head reads. Norms, rotary embedding and activations are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from medpref.engine.encode import EncodedBranch, EncodedPair, required_branches
from medpref.engine.last import NARROWED, narrows
from medpref.engine.trie import build_forest
from medpref.models.bare import bare
from medpref.models.policy import Policy
from medpref.objectives.scores import Needs


@dataclass(frozen=True)
class Sizes:
    """A prepared policy in numbers; weights are counted in elements, ``item`` is the bytes of one.

    ``linear`` and ``adapter`` are those that every token of the language model is multiplied by, ``last_linear`` and
    ``last_adapter`` those among them that only rows read by the head are (``engine/last.py``); ``tower`` those that
    every image patch is, where ``tower_attention`` layers times width see each other. ``patch`` are the pixels
    (times channels) of one patch.
    """

    linear: int
    adapter: int
    last_linear: int
    last_adapter: int
    linear_trained: bool
    layers: int
    attention_width: int
    width: int
    inner: int
    vocabulary: int
    head_trained: bool
    tower: int
    tower_attention: int
    patch: int
    weights: int
    trained: int
    item: int
    trained_bytes: int


def read_sizes(policy: Policy) -> Sizes:
    """The sizes of a policy, whose weights may be on the meta device, as :func:`prepare` left it."""
    base, family = bare(policy.model), policy.family
    config = base.config.get_text_config()
    named = [(name, part) for name, part in base.named_modules() if isinstance(part, nn.Linear)]
    inside = [(name, part.weight) for name, part in named if name.startswith(f"{family.language}.layers")]
    adapter = [(name, weight) for name, weight in inside if ".lora_" in name]
    linear = [(name, weight) for name, weight in inside if ".lora_" not in name]
    last = partial(_last, base.get_submodule(family.language), family.language)
    tower = [value for name, value in base.named_parameters() if name.startswith(family.towers)]
    attention = [weight for name, weight in inside if name.endswith((".q_proj", ".q_proj.base_layer"))]
    parameters = list(base.parameters())
    trained = [value for value in parameters if value.requires_grad]
    head = family.head(base).weight
    return Sizes(
        linear=_elements(weight for _, weight in linear),
        adapter=_elements(weight for _, weight in adapter),
        last_linear=last(linear),
        last_adapter=last(adapter),
        linear_trained=any(weight.requires_grad for _, weight in linear),
        layers=int(config.num_hidden_layers),
        attention_width=len(attention[0]) if attention else int(config.hidden_size),
        width=int(config.hidden_size),
        inner=int(config.intermediate_size),
        vocabulary=len(head),
        head_trained=head.requires_grad,
        tower=_elements(value for value in tower if value.ndim > 1),
        tower_attention=_tower_attention(base.config),
        patch=_patch(base, family.towers),
        weights=_elements(parameters),
        trained=_elements(trained),
        item=parameters[0].element_size(),
        trained_bytes=sum(value.numel() * value.element_size() for value in trained),
    )


def _elements(values: object) -> int:
    return sum(value.numel() for value in values)  # type: ignore[attr-defined]


def _last(language: Any, path: str, named: Sequence[tuple[str, Tensor]]) -> int:
    """Elements of the last layer's linears that :func:`~medpref.engine.last.narrow_last` gives fewer rows."""
    if not narrows(language.layers[-1]):
        return 0
    head = f"{path}.layers.{len(language.layers) - 1}."
    parts = tuple(head + name for name in NARROWED)
    return _elements(weight for name, weight in named if name.startswith(parts))


def _tower_attention(config: object) -> int:
    """Layers times width of the tower's attention (towers that look through windows do less)."""
    vision = getattr(config, "vision_config", None)
    layers: int | None = getattr(vision, "num_hidden_layers", None) or getattr(vision, "depth", None)
    width: int | None = getattr(vision, "embed_dim", None) or getattr(vision, "hidden_size", None)
    return (layers or 0) * (width or 0)


def _patch(base: nn.Module, towers: tuple[str, ...]) -> int:
    """The elements of the pixels that make one patch."""
    named = base.named_modules()
    convolutions = (part for name, part in named if name.startswith(towers) and hasattr(part, "kernel_size"))
    first = next(convolutions, None)
    return int(first.weight[0].numel()) if first is not None else 1  # type: ignore[union-attr, operator]


@dataclass(frozen=True)
class Load:
    """What one micro-step reads.

    ``nodes`` distinct tokens of ``asked``; ``seen`` pairs of a token and one it attends to, ``seen_rows`` those of
    tokens that the head reads; ``rows`` hidden states that the head reads, of which ``diverging`` against the
    reference; ``largest`` is the longest branch.
    """

    nodes: int
    asked: int
    seen: int
    seen_rows: int
    rows: int
    diverging: int
    largest: int
    studies: frozenset[tuple[str, ...]]


def read_load(pairs: Sequence[EncodedPair], needs: Needs) -> Load:
    """The load of some pairs scored together."""
    wanted = required_branches(needs)
    lines: dict[str, EncodedBranch] = {}
    diverging: set[str] = set()
    for pair in pairs:
        for name in (branch for branch in wanted if branch in pair.branches):
            line = pair.branches[name]
            lines[line.key] = line
            if name in needs.divergence:
                diverging.add(line.key)
    forest = build_forest([(line.images, line.read) for line in lines.values()])
    ends = zip(lines.items(), forest.paths, strict=True)
    parents = {key: path[-len(line.reply_ids) :] for (key, line), path in ends}
    read = np.unique(np.concatenate(list(parents.values())))
    return Load(
        nodes=forest.nodes,
        asked=sum(len(line.prompt) + len(line.reply_ids) for line in lines.values()),
        seen=int((forest.depth + 1).sum()),
        seen_rows=int((forest.depth[read] + 1).sum()),
        rows=len(read),
        diverging=len(np.unique(np.concatenate([parents[key] for key in diverging]))) if diverging else 0,
        largest=max(len(line.read) for line in lines.values()),
        studies=frozenset(line.images for line in lines.values()),
    )


@dataclass(frozen=True)
class Work:
    """FLOPs of one micro-step by where they are spent."""

    linears: float
    attention: float
    head: float

    @property
    def total(self) -> float:
        return self.linears + self.attention + self.head


def training_work(sizes: Sizes, load: Load, *, checkpointing: bool = False) -> Work:
    """Forward and backward of the policy over a load. Per-layer checkpointing runs every layer's forward twice.

    The head costs two products with the vocabulary matrix a row (log p and its gradient), three more a row that
    diverges (the reference's logits, and two gradients). Where the matrix is trained: the logits twice, of the
    reference too, and one for each of the two gradients.
    """
    again = 1 if checkpointing else 0
    passes = 2 + again + (1 if sizes.linear_trained else 0)
    linears = 2 * (passes * _linears(load, sizes.linear, sizes.last_linear))
    linears += 2 * ((3 + again) * _linears(load, sizes.adapter, sizes.last_adapter))
    attention = _seen(sizes, load) * sizes.attention_width * (14 + 4 * again)
    products = 2 * load.rows + 3 * load.diverging
    if sizes.head_trained:
        products = 4 * load.rows + 2 * load.diverging
    return Work(linears, attention, 2.0 * products * sizes.vocabulary * sizes.width)


def reading_work(sizes: Sizes, load: Load) -> Work:
    """A forward pass without gradients and without adapters: the reference."""
    attention = 4 * _seen(sizes, load) * sizes.attention_width
    return Work(
        2 * _linears(load, sizes.linear, sizes.last_linear), attention, 2.0 * load.rows * sizes.vocabulary * sizes.width
    )


def _linears(load: Load, elements: int, last: int) -> int:
    """Multiply-adds of every token with all linears but the last layer's, and of the rows read with those."""
    return load.nodes * (elements - last) + load.rows * last


def _seen(sizes: Sizes, load: Load) -> int:
    """Keys seen in all layers; in the last one by the rows that are read, which is true of the cascade back end."""
    last = load.seen_rows if sizes.last_linear else load.seen
    return load.seen * (sizes.layers - 1) + last


def tower_work(sizes: Sizes, patches: int) -> float:
    """One study through the tower; the projector is left out."""
    return 2.0 * patches * sizes.tower + 4.0 * patches**2 * sizes.tower_attention


def parameter_bytes(sizes: Sizes) -> int:
    """Weights, gradients of what is trained, and AdamW's two moments of it."""
    return sizes.weights * sizes.item + 3 * sizes.trained_bytes
