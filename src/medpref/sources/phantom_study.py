"""One question about one study: put together with its counterfactual answer, and held against the cues.

Knows: present, absent, aligned, broken. Does not know which questions there are (`phantom_questions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from medpref.imaging.mark import Box
from medpref.schema import Fact
from medpref.sources.phantom_cohort import DEVICE, EFFUSION, LESIONS, Cohort
from medpref.sources.phantom_draw import Films

SLUGS = {EFFUSION: "effusion", DEVICE: ""}
ABSENT = 0.2  # how often a side, zone or grade is asked of an absent finding

Facts = Mapping[str, Fact]
Draws = Sequence[float]
Answer = Callable[[Facts], str]


class Asked(NamedTuple):
    """One question about one study of a cohort, without its images.

    ``removed`` names the findings that the counterfactual lacks (empty: there is none, as nothing asked about is
    present); ``box`` is to be painted on the film (region); ``prior`` is the row of the earlier film (compare).
    """

    study: int
    kind: str
    finding: str
    question: str
    answer: str
    answer_type: Literal["closed", "open", "report"] = "open"
    choices: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    counterfactual_answer: str | None = None
    polarity: str = "none"
    shortcut: str = "none"
    box: Box | None = None
    prior: int | None = None
    slug: str = ""


class Study(NamedTuple):
    """One row of a cohort with what asking needs."""

    row: int
    facts: Facts
    cues: Mapping[str, bool]
    marker: str
    cohort: Cohort
    films: Films
    prior: int | None
    prior_facts: Facts


def about(study: Study, kind: str, *, finding: str, answer: Answer, **rest: Any) -> Asked:
    """A question about one finding, with the counterfactual where the finding is present."""
    present = finding in study.facts
    cf = answer(_without(study.facts, (finding,))) if present else None
    return Asked(
        study=study.row,
        kind=kind,
        finding=finding,
        answer=answer(study.facts),
        removed=(finding,) if present else (),
        counterfactual_answer=cf,
        polarity="present" if present else "absent",
        slug=SLUGS.get(finding, finding),
        **rest,
    )


def _without(known: Facts, removed: Sequence[str]) -> dict[str, Fact]:
    return {finding: fact for finding, fact in known.items() if finding not in removed}


def cued(study: Study, finding: str) -> str:
    """Whether the cue of a finding tells its presence rightly."""
    if finding not in study.cues:
        return "none"
    return "aligned" if study.cues[finding] == (finding in study.facts) else "broken"


def sided(study: Study, finding: str) -> str:
    """Whether the letter on the film tells the finding's side rightly; of an absent finding, its presence cue."""
    if finding not in study.facts:
        return cued(study, finding)
    side = study.facts[finding].side
    return "none" if side == "both" else ("aligned" if side == study.marker else "broken")


def pick(study: Study, findings: Sequence[str], draws: Draws) -> str | None:
    """A finding to ask about: a present one, now and then an absent one."""
    present = [finding for finding in findings if finding in study.facts]
    absent = [finding for finding in findings if finding not in study.facts]
    from_absent = draws[0] < ABSENT or not present
    if from_absent and (not absent or (not present and draws[1] > 2 * ABSENT)):
        return None
    pool = absent if from_absent else present
    return pool[int(draws[2] * len(pool))]


def overall(study: Study, kind: str, *, answer: Answer, **rest: Any) -> Asked:
    """A question about all lesions at once; its counterfactual lacks them all."""
    present = tuple(finding for finding in LESIONS if finding in study.facts)
    return Asked(
        study=study.row,
        kind=kind,
        finding="any",
        answer=answer(study.facts),
        removed=present,
        counterfactual_answer=answer(_without(study.facts, present)) if present else None,
        polarity="present" if present else "absent",
        **rest,
    )
