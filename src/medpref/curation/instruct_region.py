"""Questions about a boxed area of an image: what is in it, and whether a finding is, with as many yes as no.

A box stands around a region, or opposite to one. What is asked follows from facts and regions alone; where another
finding may lie in the box, nothing is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from medpref.curation.candidate import REGION, Candidate, NotMade, slug, tags_of
from medpref.curation.rationale_text import BOXED, indefinite
from medpref.curation.seen import Seen
from medpref.imaging.mark import Box, framed, mirrored
from medpref.imaging.regions import region_array
from medpref.language.findings import mentions
from medpref.language.wording import looks_plural
from medpref.schema import Example, Fact, Region

WHAT = f"What is in the {BOXED}?"
ALONE, HALF, LEAST_PX = 0.1, 0.5, 4
YES_NO = ("yes", "no")


def region_questions(seen: Seen, *, width: int, height: int) -> Iterator[Candidate | NotMade]:
    """Every question about a boxed area of the image, of this size in pixels; and why there is none about a region."""
    desk = _Desk(seen, width, height)
    if not seen.regions:
        yield desk.not_made("no region is given")
    lost = [name for name in seen.facts if seen.holds(name) and name not in seen.regions]
    for name, regions in seen.regions.items():
        for number, region in enumerate(regions):
            reason = f"present, but without a region: {lost[0]}" if lost else desk.unfit(name, region)
            if reason:
                yield desk.not_made(reason)
            else:
                yield from desk.about(name, region, number)


class _Desk:
    """Puts questions about one image together."""

    def __init__(self, seen: Seen, width: int, height: int) -> None:
        self.seen, self.width, self.height = seen, width, height

    def not_made(self, reason: str) -> NotMade:
        return NotMade(REGION, self.seen.first.id, reason)

    def unfit(self, name: str, region: Region) -> str | None:
        """Why nothing can be asked about a region, or None."""
        left, top, right, bottom = region.box
        if not region.label.strip():
            return "the region has no label"
        if right > self.width or bottom > self.height:
            return "the region lies outside the image"
        if min(right - left, bottom - top) < LEAST_PX:
            return f"the region is smaller than {LEAST_PX} pixels"
        if (right - left) * (bottom - top) > HALF * self.width * self.height:
            return "the region covers more than half of the image"
        ours = _is_finding(region.label)
        others = [
            other
            for held in self.seen.regions
            for other in self.seen.regions[held]
            if held != name and (not ours or _is_finding(other.label))
        ]
        return "another region lies in the box" if self._covered(region.box, others) > ALONE else None

    def about(self, name: str, region: Region, number: int) -> Iterator[Candidate]:
        """What is in the region's box; and, of a finding, whether it is there, and whether an absent one is."""
        label = region.label
        said = label[:1].upper() + label[1:]
        tail = f"{slug(label)}-{number}"
        yield self._asked(WHAT, said, name, region, id=f"what-{tail}", stratum=f"what/{name}", answer_type="open")
        if not _is_finding(label):
            return
        yield self._decided("Yes", name, label, region, id=f"yes-{tail}")
        if self._opposite(name, region) is not None:
            yield self._decided("No", name, label, self._opposite(name, region), id=f"opposite-{tail}")
        for other, facts in self.seen.facts.items():
            if not facts[0].present and _is_finding(other):
                yield self._decided("No", other, facts[0].finding, region, id=f"no-{slug(other)}-in-{tail}")

    def _opposite(self, name: str, region: Region) -> Region | None:
        """An area as large on the other side of the image, where the finding is known not to be."""
        facts, regions = self.seen.facts.get(name, ()), self.seen.regions[name]
        one_sided = len(facts) == 1 and facts[0].side in ("left", "right")
        if not one_sided or facts[0].count not in (None, len(regions)):
            return None
        box = mirrored(region.box, width=self.width)
        if self._covered(framed(box, width=self.width, height=self.height), regions) > 0:
            return None
        return Region(box=box, origin="opposite to a region")

    def _covered(self, box: Box, regions: Sequence[Region]) -> float:
        left, top, right, bottom = box
        inside = region_array(list(regions), self.height, self.width)[top:bottom, left:right]
        return float(inside.mean()) if regions else 0.0

    def _decided(self, answer: str, name: str, label: str, region: Region | None, *, id: str) -> Candidate:
        assert region is not None
        question = f"{'Are' if looks_plural(label) else 'Is'} there {indefinite(label)} in the {BOXED}?"
        stratum = f"presence/{name}/{answer.lower()}"
        return self._asked(question, answer, name, region, id=id, stratum=stratum, answer_type="closed", choices=YES_NO)

    def _asked(
        self, question: str, answer: str, name: str, region: Region, *, id: str, stratum: str, **rest: Any
    ) -> Candidate:
        seen = self.seen
        facts: tuple[Fact, ...] = tuple(fact for fact in seen.all_facts() if fact.present)
        facts += tuple(fact for fact in seen.facts.get(name, ()) if not fact.present)
        example = Example(
            id=f"{seen.first.id}-boxed-{id}",
            patient=seen.first.patient,
            images=(seen.ref,),
            question=question,
            answer=answer,
            split=seen.first.split,
            kind=REGION,
            regions=(region.model_copy(update={"image": 0}),),
            facts=facts,
            tags=tags_of(seen, task=REGION, finding=name, present=answer != "No"),
            source=seen.first.source,
            credentialed=seen.credentialed,
            **rest,
        )
        return Candidate(example, f"{REGION}/{stratum}", framed(region.box, width=self.width, height=self.height))


def _is_finding(label: str) -> bool:
    return bool(mentions(label, ("finding", "device")))
