"""Which questions a study is asked, with their answers: pure in (seed, split, study).

A question about a finding that is absent is asked about as often as one about a finding that is present (presence),
or now and then (side, zone, severity: the right answer is then "None"), so that agreeing is never enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from medpref.seeds import generator
from medpref.sources import phantom_words as words
from medpref.sources.phantom_cohort import (
    ATELECTASIS,
    CARDIOMEGALY,
    CONSOLIDATION,
    DEVICE,
    EFFUSION,
    GRADES,
    LESIONS,
    NODULE,
    PNEUMOTHORAX,
    SIDES,
    Cohort,
    facts,
)
from medpref.sources.phantom_draw import Films
from medpref.sources.phantom_regions import lonely_box, regions, slot_box, spare
from medpref.sources.phantom_shortcut import CUED_PREVALENCE, FREE_PREVALENCE, cues
from medpref.sources.phantom_study import ABSENT, Asked, Draws, Study, about, cued, overall, pick, sided

KINDS = (
    "presence", "side", "zone", "severity", "count", "abnormality", "view", "device", "report", "region", "compare",
)  # fmt: skip
DEFAULT_KINDS = KINDS[:9]
_ASKED = 0.2  # chance that presence of a given finding is asked and the answer is yes; the same for no
_COLUMNS = 14
_SIDED = (EFFUSION, PNEUMOTHORAX, CONSOLIDATION, ATELECTASIS, NODULE)
_ZONED = (CONSOLIDATION, ATELECTASIS, NODULE)
_COMPARED = (CARDIOMEGALY, EFFUSION, PNEUMOTHORAX, CONSOLIDATION)
_PREVALENCE = {ATELECTASIS: FREE_PREVALENCE, NODULE: FREE_PREVALENCE}


Asker = Callable[[Study, Draws], Iterator[Asked]]


def ask(
    cohort: Cohort,
    films: Films,
    *,
    seed: int,
    split: str,
    indices: Sequence[int],
    kinds: Sequence[str],
    per_patient: int,
) -> list[Asked]:
    """All questions about a cohort. A study's questions of one kind do not depend on which other kinds are asked."""
    says = cues(cohort)
    known = [facts(cohort, row) for row in range(len(cohort))]
    asked: list[Asked] = []
    for row, index in enumerate(indices):
        draws = generator(seed, "phantom", split, "ask", str(index)).random((len(KINDS), _COLUMNS)).tolist()
        has_prior = index % per_patient > 0 and row > 0 and indices[row - 1] == index - 1
        study = Study(
            row=row,
            facts=known[row],
            cues={finding: bool(cue[row]) for finding, cue in says.items()},
            marker=SIDES[int(cohort.marker[row])],
            cohort=cohort,
            films=films,
            prior=row - 1 if has_prior else None,
            prior_facts=known[row - 1] if has_prior else {},
        )
        for kind in kinds:
            asked += _ASKERS[kind](study, draws[KINDS.index(kind)])
    return asked


def _presence(study: Study, draws: Draws) -> Iterator[Asked]:
    for column, finding in enumerate(LESIONS):
        share = _PREVALENCE.get(finding, CUED_PREVALENCE)
        if draws[column] < _ASKED / (share if finding in study.facts else 1 - share):
            yield about(
                study,
                "presence",
                finding=finding,
                answer=lambda known, finding=finding: words.presence(known, finding),  # type: ignore[misc]
                question=words.wording("presence", draws[6 + column], finding=finding),
                answer_type="closed",
                choices=("yes", "no"),
                shortcut=cued(study, finding),
            )


def _side(study: Study, draws: Draws) -> Iterator[Asked]:
    if finding := pick(study, _SIDED, draws):
        yield about(
            study,
            "side",
            finding=finding,
            answer=lambda known: words.side(known, finding),
            question=words.wording("side", draws[3], finding=finding),
            answer_type="closed",
            choices=("right", "left", "both", "none"),
            shortcut=sided(study, finding),
        )


def _zone(study: Study, draws: Draws) -> Iterator[Asked]:
    single = [f for f in _ZONED if f not in study.facts or (study.facts[f].count or 1) == 1]
    if finding := pick(study, single, draws):
        yield about(
            study,
            "zone",
            finding=finding,
            answer=lambda known: words.zone(known, finding),
            question=words.wording("zone", draws[3], finding=finding),
            shortcut=sided(study, finding),
        )


def _severity(study: Study, draws: Draws) -> Iterator[Asked]:
    if finding := pick(study, tuple(GRADES), draws):
        yield about(
            study,
            "severity",
            finding=finding,
            answer=lambda known: words.severity(known, finding),
            question=words.wording("severity", draws[3], finding=finding),
            answer_type="closed",
            choices=(*GRADES[finding], "none"),
            shortcut=cued(study, finding),
        )


def _count(study: Study, draws: Draws) -> Iterator[Asked]:
    share = FREE_PREVALENCE / (1 - FREE_PREVALENCE)
    if draws[0] < (0.8 if NODULE in study.facts else 0.8 * share):
        question = words.wording("count/nodule", draws[1])
        choices = words.NUMBERS[:4]
        yield about(
            study,
            "count",
            finding=NODULE,
            answer=words.nodules,
            question=question,
            answer_type="closed",
            choices=choices,
        )
    else:
        question = words.wording("count/abnormality", draws[1])
        yield overall(
            study, "count", answer=words.abnormalities, question=question, answer_type="closed", choices=words.NUMBERS
        )


def _abnormality(study: Study, draws: Draws) -> Iterator[Asked]:
    yield overall(study, "abnormality", answer=words.abnormality, question=words.wording("abnormality", draws[0]))


def _report(study: Study, draws: Draws) -> Iterator[Asked]:
    question = words.wording("report", draws[0])
    yield overall(study, "report", answer=words.report, question=question, answer_type="report")


def _view(study: Study, draws: Draws) -> Iterator[Asked]:
    yield Asked(
        study=study.row,
        kind="view",
        finding="none",
        question=words.wording("view", draws[0]),
        answer="AP" if study.cohort.anteroposterior[study.row] else "PA",
        answer_type="closed",
        choices=("ap", "pa"),
    )


def _device(study: Study, draws: Draws) -> Iterator[Asked]:
    if draws[0] < 0.5:
        question = words.wording("device/presence", draws[1])
        yield about(
            study,
            "device",
            finding=DEVICE,
            answer=lambda known: words.presence(known, DEVICE),
            question=question,
            answer_type="closed",
            choices=("yes", "no"),
        )
    else:
        yield about(
            study, "device", finding=DEVICE, answer=words.device, question=words.wording("device/which", draws[1])
        )


def _region(study: Study, draws: Draws) -> Iterator[Asked]:
    size_px = study.films.images.shape[-1]
    found = regions(study.films, study.row)
    boxes = [(f, spare(r.box, size_px)) for f in (EFFUSION, *_ZONED) for r in found.get(f, ())]
    boxes = [(f, box) for f, box in boxes if lonely_box(study.films, study.row, box, finding=f)]
    question = words.wording("region", draws[0])
    if boxes and draws[1] < 0.7:
        finding, box = boxes[int(draws[2] * len(boxes))]
        answer = lambda known: words.marked(known, finding)  # noqa: E731
        yield about(study, "region", finding=finding, answer=answer, question=question, box=box)
        return
    slots = sorted(range(6), key=lambda slot: draws[4 + slot])
    for slot in slots:
        box = slot_box(study.cohort, study.row, slot, size_px=size_px)
        if lonely_box(study.films, study.row, box, finding=""):
            answer_none = words.marked({}, "")
            yield Asked(study.row, "region", "none", question, answer_none, polarity="absent", box=box)
            return


def _compare(study: Study, draws: Draws) -> Iterator[Asked]:
    if study.prior is None:
        return
    either = [f for f in _COMPARED if f in study.facts or f in study.prior_facts]
    pool = either if either and draws[0] > ABSENT / 2 else _COMPARED
    finding = pool[int(draws[1] * len(pool))]
    yield about(
        study,
        "compare",
        finding=finding,
        answer=lambda known: words.change(study.prior_facts, known, finding),
        question=words.wording("compare", draws[2], finding=finding),
        answer_type="closed",
        choices=("better", "worse", "unchanged"),
        prior=study.prior,
    )


_ASKERS: dict[str, Asker] = {
    "presence": _presence,
    "side": _side,
    "zone": _zone,
    "severity": _severity,
    "count": _count,
    "abnormality": _abnormality,
    "view": _view,
    "device": _device,
    "report": _report,
    "region": _region,
    "compare": _compare,
}
