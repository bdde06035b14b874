"""Lengths and groups of a data set as a few statistics, and pairs of random tokens that have them.

Enough to count work and memory before the data are there. The known ones are those of published preference files:
words times 1.4, plus 30 tokens of template, end token included.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from medpref.engine.encode import EncodedBranch, EncodedPair
from medpref.errors import RecipeError, nearest
from medpref.recipe import yaml_value
from medpref.registry import build
from medpref.schema import CLEAN, Branch, Frozen
from medpref.seeds import generator

IMAGE_TOKEN = 0


class Trace(Frozen):
    """``pairs`` pairs, ``per_image`` of them on one image; tokens of an image, a prompt (without it) and the replies.

    ``image`` None: as many as the policy's processor makes of an image of 512 x 512 pixels.
    """

    pairs: int = Field(default=1000, gt=0)
    per_image: float = Field(default=1.0, ge=1)
    image: int | None = Field(default=None, gt=0)
    prompt: int = Field(default=40, gt=0)
    chosen: int = Field(default=20, gt=0)
    rejected: int = Field(default=20, gt=0)


KNOWN = {
    "vqa": Trace(),
    "slake": Trace(pairs=4919, per_image=10.9, prompt=44, chosen=6, rejected=17),
    "vqa_rad": Trace(pairs=1797, per_image=5.7, prompt=42, chosen=6, rejected=17),
    "iu_xray": Trace(pairs=2069, prompt=44, chosen=72, rejected=72),
    "mimic_cxr": Trace(pairs=800, prompt=45, chosen=77, rejected=78),
}
"""``slake`` to ``mimic_cxr`` are the pairs that MMedPO published for these data sets."""


def parse_trace(text: str) -> Trace:
    """A known trace's name, ``key=value,...``, or both: ``slake,image=1024``."""
    fields: dict[str, object] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if equals:
            fields |= {key: yaml_value(value)}
        elif key in KNOWN:
            fields = KNOWN[key].model_dump() | fields
        else:
            expected = "a known name or key=value"
            raise RecipeError(f"trace {text!r}", given=key, expected=expected, todo=nearest(key, KNOWN))
    made: Trace = build(Trace, fields, where=f"trace {text!r}")
    return made


def draw_pairs(trace: Trace, branches: Iterable[Branch], *, limit: int) -> list[EncodedPair]:
    """The first ``limit`` pairs: random tokens that share the image alone, half of each reply in a span.

    A view other than clean is an image of its own for every pair, as corruptions at a lesion are.
    """
    wanted = sorted(branches)
    return [_pair(trace, number, wanted) for number in range(min(limit, trace.pairs))]


def _pair(trace: Trace, number: int, branches: list[Branch]) -> EncodedPair:
    rng = generator(0, "trace", str(number))
    assert trace.image is not None
    prompt = (IMAGE_TOKEN,) * trace.image + tuple(rng.integers(1, 1 << 30, trace.prompt).tolist())
    sizes = {"chosen": trace.chosen}
    found = {}
    for branch in branches:
        size = sizes.get(branch.reply, trace.rejected)
        said = tuple(generator(0, "reply", branch.reply, str(number)).integers(1, 1 << 30, size).tolist())
        image = f"image {int(number / trace.per_image)}" if branch.view == CLEAN else f"{branch.view} {number}"
        spans = tuple(place < max(1, size // 2) for place in range(size))
        found[branch] = EncodedBranch(branch.view, branch.reply, (image,), prompt, said, spans)
    return EncodedPair(f"{number}", 1.0, found)
