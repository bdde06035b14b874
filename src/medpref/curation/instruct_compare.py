"""Questions about two images: whether the second shows more, less or the same of a finding than the first.

The two images are of the same kind (modality, plane, organ as the tags say): a patient's image and the one before it in
the source's order, and images of two patients. The answer follows from the facts of both by rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from medpref.curation.candidate import COMPARE, Candidate, NotMade, slug, tags_of
from medpref.curation.difference import BETWEEN, OVER_TIME, difference
from medpref.curation.seen import Seen
from medpref.language.findings import mentions
from medpref.language.wording import looks_plural, plural
from medpref.schema import Example, Fact, Region
from medpref.seeds import generator

TRIES = 8
ITS_OWN, ANOTHER = "same patient", "two patients"


def compare_questions(pool: Sequence[Seen], *, seed: int, ordered: bool) -> Iterator[Candidate | NotMade]:
    """Every question about two images: each image as the second one, after its patient's last and after another's.

    ``ordered``: a patient's images stand in order of time, so it is asked whether a finding is better or worse.
    """
    alike: dict[str, list[Seen]] = {}
    for seen in pool:
        alike.setdefault(_sort(seen), []).append(seen)
    before: dict[tuple[str, str], Seen] = {}
    for seen in pool:
        place = (_sort(seen), seen.first.patient)
        if place in before:
            yield from _asked(before[place], seen, seed=seed, ordered=ordered)
        before[place] = seen
        yield from _beside_another(seen, alike[_sort(seen)], seed=seed)


def _sort(seen: Seen) -> str:
    return str(sorted(seen.sort.items()))


def _beside_another(seen: Seen, alike: Sequence[Seen], *, seed: int) -> Iterator[Candidate | NotMade]:
    """The questions with the first of a few images of other patients that shares a finding with it."""
    rng = generator(seed, "instructions", "another patient", seen.first.id)
    for index in rng.permutation(len(alike))[:TRIES]:
        other = alike[int(index)]
        if other.first.patient == seen.first.patient:
            continue
        found = list(_asked(other, seen, seed=seed, ordered=False))
        if any(isinstance(one, Candidate) for one in found):
            yield from found
            return
    yield NotMade(COMPARE, seen.first.id, "no other patient's image with facts to compare it with")


def _asked(first: Seen, second: Seen, *, seed: int, ordered: bool) -> Iterator[Candidate | NotMade]:
    """A question for each finding known of both images and present on one, and for one that is absent on both.

    Devices are not compared: there is no more or less of them.
    """
    shared = [name for name in second.facts if name in first.facts and not mentions(name, ("device",))]
    shown = [name for name in shared if first.holds(name) or second.holds(name)]
    absent = [name for name in shared if name not in shown]
    if absent:
        rng = generator(seed, "instructions", "absent on both", first.first.id, second.first.id)
        shown.append(absent[int(rng.integers(len(absent)))])
    for name in shown:
        ours, theirs = first.facts[name], second.facts[name]
        if len(ours) != 1 or len(theirs) != 1:
            yield NotMade(COMPARE, second.first.id, f"several facts of one image speak of {name}")
            continue
        sign = difference(ours[0], theirs[0])
        if sign is None:
            yield NotMade(COMPARE, second.first.id, f"the degree is not known on both images: {name}")
        else:
            yield _question(first, second, name, sign, ordered=ordered)


def _question(first: Seen, second: Seen, name: str, sign: int, *, ordered: bool) -> Candidate:
    own = first.first.patient == second.first.patient
    choices = OVER_TIME if own and ordered else BETWEEN
    relation = ITS_OWN if own else ANOTHER
    answer = choices[sign + 1]
    tags = tags_of(second, task=COMPARE, finding=name, present=bool(second.holds(name)))
    example = Example(
        id=f"{second.first.id}-{COMPARE}-{slug(name)}-{slug(relation)}",
        patient=second.first.patient,
        images=(first.ref, second.ref),
        question=_wording(first.facts[name][0], second.facts[name][0], over_time=choices is OVER_TIME),
        answer=answer[:1].upper() + answer[1:],
        split=second.first.split,
        kind=COMPARE,
        answer_type="closed",
        choices=choices,
        regions=(*_regions(first, name, 0), *_regions(second, name, 1)),
        facts=(*_facts(first, name, 0), *_facts(second, name, 1)),
        tags={**tags, "relation": relation, **_other(first, own=own)},
        source=second.first.source,
        credentialed=first.credentialed or second.credentialed,
    )
    return Candidate(example, f"{COMPARE}/{relation}/{name}/{answer}")


def _wording(first: Fact, second: Fact, *, over_time: bool) -> str:
    name = second.finding
    if over_time:
        verb = "are" if looks_plural(name) else "is"
        return f"From the first image to the second, {verb} the {name} better, worse or unchanged?"
    counted = first.count is not None or second.count is not None
    return f"Does the second image show more, less or the same {plural(name) if counted else name} as the first?"


def _regions(seen: Seen, name: str, image: int) -> tuple[Region, ...]:
    return tuple(region.model_copy(update={"image": image}) for region in seen.regions.get(name, ()))


def _facts(seen: Seen, name: str, image: int) -> tuple[Fact, ...]:
    """What is present on an image, and what is known of the finding that is asked about."""
    asked = seen.facts[name]
    others = [fact for fact in seen.all_facts() if fact.present and fact not in asked]
    return tuple(fact.model_copy(update={"image": image}) for fact in (*asked, *others))


def _other(first: Seen, *, own: bool) -> Mapping[str, str]:
    return {} if own else {"other_patient": first.first.patient}
