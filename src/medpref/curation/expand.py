"""More examples like the ones that were mined: nearest neighbours of the seeds, in turns, within bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from medpref.curation.draft import Context
from medpref.curation.features import features
from medpref.curation.mine import Pick
from medpref.curation.nearest import Index, random_distances, search, space
from medpref.curation.neighbour import barred
from medpref.language.answers import normalise
from medpref.registry import MINERS
from medpref.schema import Example, Frozen
from medpref.seeds import generator

Feature = Literal["image", "question", "rationale", "findings"]
EVEN: Mapping[Feature, float] = {"image": 1.0, "question": 1.0, "rationale": 1.0, "findings": 1.0}


@MINERS.add
class Neighbours(Frozen):
    """The seeds that another miner picks and their nearest neighbours of the same kind (CheXPO's expansion).

    Neighbours are taken in turns, the nearest of each seed first, up to ``size`` picks: at most ``per_seed`` of a
    seed, ``per_image`` of an image and question, ``per_patient`` of a patient; none farther than the ``ceiling``
    quantile of random pairs, none with the seed's image, none of a patient of another split.
    """

    kind: Literal["neighbours"] = "neighbours"
    seeds: Mapping[str, Any] = Field(default_factory=lambda: {"kind": "confidence"})
    size: int = Field(ge=1)
    k: int = Field(default=10, ge=1)
    per_seed: int = Field(default=5, ge=1)
    per_image: int = Field(default=1, ge=1)
    per_patient: int = Field(default=8, ge=1)
    ceiling: float = Field(default=0.05, gt=0, le=1)
    weights: Mapping[Feature, float] = Field(default_factory=lambda: EVEN)
    index: Index = "auto"

    def select(self, examples: Sequence[Example], context: Context) -> list[Pick]:
        """The seeds, then their neighbours in the order in which they were taken."""
        allowed = [example for example in examples if example.patient not in context.held_patients]
        miner = MINERS.parse(self.seeds, where="mine.seeds")
        seeds = list(miner.select(allowed, context))[: self.size]
        told = [Pick(one.example, {**one.reason, "source": "seed"}) for one in seeds]
        return told + self._neighbours(allowed, [one.example for one in seeds], context)

    def _neighbours(self, examples: Sequence[Example], seeds: Sequence[Example], context: Context) -> list[Pick]:
        hits: dict[str, list[tuple[Example, float]]] = {}
        for kind in sorted({example.kind for example in seeds}):
            group = [example for example in examples if example.kind == kind]
            hits |= self._near(group, {example.id for example in seeds if example.kind == kind}, context)
        return self._in_turns(seeds, hits)

    def _near(
        self, group: Sequence[Example], seeds: set[str], context: Context
    ) -> dict[str, list[tuple[Example, float]]]:
        """The admissible neighbours of one kind's seeds, nearest first."""
        if len(group) < 2:
            return {}
        rng = generator(context.seed, "curation", "neighbours", group[0].kind)
        where = space(
            features(group, context.root, list(self.weights)),
            {str(name): weight for name, weight in self.weights.items()},
            rng,
        )
        limit = float(np.quantile(random_distances(where, rng), self.ceiling))
        rows = [row for row, example in enumerate(group) if example.id in seeds]
        gallery = [row for row, example in enumerate(group) if example.id not in seeds]
        found = search(where, rows, gallery, k=self.k, barred=barred(group), index=self.index)
        return {
            group[row].id: [(group[hit], distance) for hit, distance in near if distance <= limit]
            for row, near in zip(rows, found, strict=True)
        }

    def _in_turns(self, seeds: Sequence[Example], hits: Mapping[str, list[tuple[Example, float]]]) -> list[Pick]:
        picks: list[Pick] = []
        taken: set[str] = set()
        images, patients = Counter(_places(seeds)), Counter(example.patient for example in seeds)
        used: Counter[str] = Counter()
        for turn in range(self.k):
            for seed in seeds:
                if len(seeds) + len(picks) >= self.size:
                    return picks
                near = hits.get(seed.id, [])
                if turn >= len(near) or used[seed.id] >= self.per_seed:
                    continue
                example, distance = near[turn]
                place = _places([example])[0]
                if (
                    example.id in taken
                    or images[place] >= self.per_image
                    or patients[example.patient] >= self.per_patient
                ):
                    continue
                taken.add(example.id)
                images[place] += 1
                patients[example.patient] += 1
                used[seed.id] += 1
                told = {"source": "retrieved", "seed": seed.id, "rank": turn + 1, "distance": round(distance, 6)}
                picks.append(Pick(example, {"miner": self.kind, **told}))
        return picks


def _places(examples: Sequence[Example]) -> list[str]:
    """Images and question template (normal form) of each example."""
    return ["+".join(ref.sha256 for ref in one.images) + "|" + normalise(one.question) for one in examples]
