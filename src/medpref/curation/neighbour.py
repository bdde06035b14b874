"""The rejected reply that describes a similar image: the benchmark's retrieval negatives (arXiv:2601.17918)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.falsify import error_of, is_wrong
from medpref.curation.features import features
from medpref.curation.nearest import Index, search, space
from medpref.language.wording import styled
from medpref.registry import WRITERS
from medpref.schema import CHOSEN, Example, Frozen, Reply
from medpref.seeds import generator

Near = dict[str, tuple[tuple[str, float], ...]]


@WRITERS.add
class Neighbour(Frozen):
    """The ``answer`` (or the policy's own ``reply``) to the same kind of question on the most similar other image.

    Of the ``k`` nearest images of other patients, the first whose text is wrong here and alike in length.
    """

    kind: Literal["neighbour"] = "neighbour"
    both: ClassVar[bool] = False
    of: Literal["answer", "reply"] = "answer"
    k: int = Field(default=8, ge=1)
    index: Index = "auto"

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        right = other.replies[CHOSEN].text if other else example.answer
        for name, distance in context.near.get(example.id, ()):
            lent = context.examples[name]
            own = context.own.get(name)
            text = lent.answer if self.of == "answer" else (own.text if own else "")
            text = styled(text, like=right)
            if text and is_wrong(example, text, like=right):
                notes = {
                    "error": error_of(example, text),
                    "made_by": "neighbour",
                    "neighbour": {"example": name, "distance": distance},
                }
                return Draft({role: Reply(text=text, author="neighbour")}, notes)
        return Refused("no near image has another answer of this length")


def near_map(examples: Sequence[Example], context: Context, *, k: int, index: Index) -> Near:
    """The ``k`` nearest examples of the same kind, of another patient and image, by image and question."""
    found: Near = {}
    for kind in sorted({example.kind for example in examples}):
        group = [example for example in examples if example.kind == kind]
        if len(group) < 2:
            continue
        rng = generator(context.seed, "curation", "near", kind)
        where = space(features(group, context.root, ("image", "question")), {"image": 1.0, "question": 1.0}, rng)
        rows = range(len(group))
        nearest = search(where, rows, rows, k=k, barred=barred(group), index=index)
        for example, hits in zip(group, nearest, strict=True):
            found[example.id] = tuple((group[row].id, round(distance, 6)) for row, distance in hits)
    return found


def barred(examples: Sequence[Example]) -> dict[int, frozenset[int]]:
    """For each row the rows of the same patient or with the same image, itself included."""
    holders: dict[str, set[int]] = {}
    for row, example in enumerate(examples):
        for key in (f"patient {example.patient}", *(f"image {ref.sha256}" for ref in example.images)):
            holders.setdefault(key, set()).add(row)
    return {
        row: frozenset(
            set().union(
                *(holders[key] for key in (f"patient {one.patient}", *(f"image {r.sha256}" for r in one.images)))
            )
        )
        for row, one in enumerate(examples)
    }
