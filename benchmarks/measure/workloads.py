"""What is trained on: pairs as token ids, in optimiser steps, and the images they show.

Random tokens share nothing that a workload does not say they share: two questions of an image share the image alone,
the two replies of a question the question alone. Real minimal edits share more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from measure.model import FIRST_WORD, Shape
from medpref.engine.encode import EncodedBranch, EncodedPair
from medpref.objectives.objective import Objective, parse_objective
from medpref.schema import Branch, ImageRef
from medpref.seeds import generator
from medpref.store import file_digest

DPO = ({"kind": "margin", "better": "clean/chosen", "worse": "clean/rejected", "beta": 0.1},)
FIRE = (
    {**DPO[0], "tokens": "spans"},
    {**DPO[0], "better": "corrupt/rejected", "worse": "corrupt/chosen", "tokens": "spans", "weight": 0.1},
    {"kind": "token_kl", "branch": "clean/chosen", "tokens": "spans", "forward": 0.5, "reverse": 0.5, "weight": 0.01},
)
"""DPO, and FiRe-MPO's objective as in the shipped recipe ``fire_mpo``."""
SLAKE = {"pairs_per_image": 10.9, "one_word": 0.55, "rejected_words": 11, "template_tokens": 30, "tokens_per_word": 1.4}
"""Statistics of MMedPO's SLAKE file: 4,919 pairs on 450 images, chosen median one word, rejected about eleven."""


@dataclass(frozen=True)
class Question:
    """Lengths of one pair, in tokens; replies count their end token. ``image`` and ``corrupt`` are image numbers."""

    image: int
    corrupt: int | None
    prompt: int
    chosen: int
    rejected: int


@dataclass(frozen=True)
class Workload:
    """Optimiser steps of questions; every round carries out all of them."""

    name: str
    title: str
    steps: tuple[tuple[Question, ...], ...]
    terms: tuple[dict[str, object], ...] = DPO

    @property
    def objective(self) -> Objective:
        return parse_objective(list(self.terms))

    @property
    def questions(self) -> tuple[Question, ...]:
        return tuple(question for step in self.steps for question in step)

    @property
    def views(self) -> tuple[str, ...]:
        return ("clean", "corrupt") if self.questions[0].corrupt is not None else ("clean",)


def regular(name: str, title: str, *, pairs: int, per_image: int, reply: int, corrupt: str = "") -> Workload:
    """One optimiser step of questions of 40 tokens whose replies are equally long.

    ``corrupt``: "" for none, "shared" for one corrupt view an image, "own" for one a question.
    """
    images = math.ceil(pairs / per_image)
    other = {"": lambda n: None, "shared": lambda n: images + n // per_image, "own": lambda n: images + n}[corrupt]
    questions = tuple(Question(n // per_image, other(n), 40, reply, reply) for n in range(pairs))
    return Workload(name, title, (questions,), terms=FIRE if corrupt else DPO)


def slake(images: int, *, seed: int = 0) -> Workload:
    """Lengths and groups as in a SLAKE-shaped file: words to tokens at 1.4, and 30 template tokens a question.

    The template's tokens stand after the question, so no two questions share them.
    """
    rng = generator(seed, "slake", str(images))
    sizes = np.clip(rng.normal(SLAKE["pairs_per_image"], 3, images).round(), 4, 20).astype(int)
    sizes[-1] += max(4 - sizes[-1], round(SLAKE["pairs_per_image"] * images) - sizes.sum())
    questions = []
    for image, size in enumerate(sizes):
        for _ in range(size):
            asked = int(rng.integers(6, 15))
            short = rng.random() < SLAKE["one_word"]
            chosen = 1 if short else 1 + int(rng.integers(1, 8))
            rejected = max(3, int(rng.poisson(SLAKE["rejected_words"])))
            prompt = SLAKE["template_tokens"] + _tokens(asked)
            questions.append(Question(image, None, prompt, _tokens(chosen) + 1, _tokens(rejected) + 1))
    title = f"SLAKE-shaped trace, {len(questions)} pairs on {images} images"
    return Workload("Bp", title, (tuple(questions),))


def _tokens(words: int) -> int:
    return round(words * SLAKE["tokens_per_word"])


@dataclass(frozen=True)
class Data:
    """A workload's pairs in both forms: token ids for us, texts for TRL (a word is a token)."""

    steps: tuple[tuple[EncodedPair, ...], ...]
    texts: tuple[tuple[dict[str, object], ...], ...]
    images: tuple[ImageRef, ...]
    root: Path

    def open(self, number: int) -> Image.Image:
        """The image, decoded."""
        return Image.open(self.images[number].locate(self.root)).convert("RGB")


def make(workload: Workload, shape: Shape, folder: Path, *, seed: int = 0) -> Data:
    """Random tokens and random images (never zeros, which some matrix kernels run faster on)."""
    rng = generator(seed, "workload", workload.name)
    count = 1 + max(n for q in workload.questions for n in (q.image, q.corrupt) if n is not None)
    images = tuple(
        _image(folder / f"{workload.name}-{n}.png", rng, edge=shape.side * shape.patch_px) for n in range(count)
    )
    steps, texts, number = [], [], 0
    for step in workload.steps:
        pairs, rows = [], []
        for question in step:
            words = [rng.integers(FIRST_WORD, shape.vocabulary, size).tolist() for size in _sizes(question)]
            pairs.append(_encode(f"p{number}", question, words, images, image_tokens=shape.image_tokens))
            rows.append(_text(question, words))
            number += 1
        steps.append(tuple(pairs))
        texts.append(tuple(rows))
    return Data(tuple(steps), tuple(texts), images, folder)


def _sizes(question: Question) -> tuple[int, int, int]:
    """Words of prompt, chosen and rejected; the end token is no word."""
    return question.prompt, question.chosen - 1, question.rejected - 1


def _image(path: Path, rng: np.random.Generator, *, edge: int) -> ImageRef:
    Image.fromarray(rng.integers(0, 255, (edge, edge, 3), dtype=np.uint8)).save(path)
    return ImageRef(path=path.name, sha256=file_digest(path))


def _encode(
    name: str, question: Question, words: list[list[int]], images: tuple[ImageRef, ...], *, image_tokens: int
) -> EncodedPair:
    asked, *replies = words
    views = {"clean": question.image, "corrupt": question.corrupt}
    branches = {}
    for view, image in views.items():
        for reply, said in zip(("chosen", "rejected"), replies, strict=True):
            if image is not None:
                ids = (*said, 2)
                branches[Branch(view, reply)] = EncodedBranch(
                    view=view,
                    reply=reply,
                    images=(images[image].sha256,),
                    prompt=(3,) * image_tokens + tuple(asked),
                    reply_ids=ids,
                    spans=tuple(place < max(1, len(ids) // 2) for place in range(len(ids))),
                )
    return EncodedPair(name, 1.0, branches)


def _text(question: Question, words: list[list[int]]) -> dict[str, object]:
    prompt, chosen, rejected = (" ".join(f"w{word - FIRST_WORD}" for word in part) for part in words)
    row = {"prompt": f"<image> {prompt}", "chosen": f"{chosen} </s>", "rejected": f"{rejected} </s>"}
    return {**row, "image": question.image, "corrupt": question.corrupt}
