"""The planted shortcut: its strength is the correlation of finding and cue, and it changes no prevalence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.sources.phantom_cohort import (
    ATELECTASIS,
    CARDIOMEGALY,
    CONSOLIDATION,
    EFFUSION,
    FINDINGS,
    LESIONS,
    NODULE,
    PNEUMOTHORAX,
    Cohort,
)
from medpref.sources.phantom_shortcut import CUED_PREVALENCE, FREE_PREVALENCE, cues, draw_cohort

COUNT = 3000


def cohort_of(shortcut: float, *, seed: int = 1, count: int = COUNT) -> Cohort:
    return draw_cohort(seed, "train", range(count), shortcut=shortcut, studies_per_patient=1)


@pytest.mark.parametrize("shortcut", [0.0, 0.5, 0.9])
def test_the_correlation_of_finding_and_cue_is_the_shortcut(shortcut: float) -> None:
    """Expected: Cov(f, c) = s Var(c) and Var(f) = Var(c), so corr = s; four standard errors of allowance."""
    cohort = cohort_of(shortcut)
    for finding, cue in cues(cohort).items():
        measured = np.corrcoef(cue, cohort.present(finding))[0, 1]
        assert measured == pytest.approx(shortcut, abs=4 / np.sqrt(COUNT)), finding


def test_a_full_shortcut_is_deterministic() -> None:
    cohort = cohort_of(1.0, count=300)
    for finding, cue in cues(cohort).items():
        assert np.array_equal(cohort.present(finding), cue)
    single = (cohort.effusion_grade > 0).sum(1) == 1
    assert np.array_equal((cohort.effusion_grade[:, 1] > 0)[single], (cohort.marker == 1)[single])


@pytest.mark.parametrize("shortcut", [0.0, 0.9])
def test_prevalences_do_not_depend_on_the_shortcut(shortcut: float) -> None:
    cohort = cohort_of(shortcut)
    for finding in (EFFUSION, CARDIOMEGALY, CONSOLIDATION, PNEUMOTHORAX):
        assert cohort.present(finding).mean() == pytest.approx(CUED_PREVALENCE, abs=0.04)
    for finding in (NODULE, ATELECTASIS):
        assert cohort.present(finding).mean() == pytest.approx(FREE_PREVALENCE, abs=0.04)


def test_without_shortcut_findings_are_independent() -> None:
    cohort = cohort_of(0.0)
    table = np.stack([cohort.present(finding) for finding in FINDINGS] + [cohort.anteroposterior, cohort.dark])
    off_diagonal = np.corrcoef(table)[~np.eye(len(table), dtype=bool)]
    assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(COUNT)


def test_the_letter_tells_the_side_only_under_a_shortcut() -> None:
    def agreement(cohort: Cohort) -> float:
        rows = cohort.pneumothorax_grade > 0
        return float((cohort.pneumothorax_side == cohort.marker)[rows].mean())

    assert agreement(cohort_of(0.9)) == pytest.approx(0.95, abs=0.03)
    assert agreement(cohort_of(0.0)) == pytest.approx(0.5, abs=0.06)


@given(seed=st.integers(0, 2**40), shortcut=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_every_row_is_a_possible_study(seed: int, shortcut: float) -> None:
    cohort = cohort_of(shortcut, seed=seed, count=40)
    assert np.array_equal(cohort.consolidation_grade > 0, cohort.consolidation_slot >= 0)
    assert np.array_equal(cohort.pneumothorax_grade > 0, cohort.pneumothorax_side >= 0)
    places = np.zeros((40, 6), int)
    for slots in (cohort.consolidation_slot, cohort.atelectasis_slot):
        rows = np.flatnonzero(slots >= 0)
        places[rows, slots[rows]] += 1
    rows = np.flatnonzero(cohort.pneumothorax_grade)
    places[rows, 3 * cohort.pneumothorax_side[rows]] += 1
    places[:, (2, 5)] += cohort.effusion_grade > 0
    places[:, (1, 4)] += cohort.effusion_grade == 3
    assert places.max() <= 1, "no lesion hides another"
    several = cohort.nodule_slots.sum(1) > 1
    assert not (cohort.nodule_slots & (places > 0))[several].any()
    assert cohort.nodule_slots.sum(1).max() <= 3


def test_studies_of_a_patient_share_the_anatomy_and_nothing_else() -> None:
    pair = draw_cohort(0, "train", (6, 7, 8), shortcut=0.0, studies_per_patient=2)
    assert pair.half_width[0] == pair.half_width[1] != pair.half_width[2]
    assert pair.rotation[0] != pair.rotation[1]
    assert pair.noise_seed[0] != pair.noise_seed[1]


def test_a_row_does_not_depend_on_the_others() -> None:
    whole = draw_cohort(4, "test", range(10), shortcut=0.7, studies_per_patient=2)
    part = draw_cohort(4, "test", (7, 3), shortcut=0.7, studies_per_patient=2)
    for finding in LESIONS:
        assert np.array_equal(part.present(finding), whole.present(finding)[[7, 3]])
    assert np.array_equal(part.jitter, whole.jitter[[7, 3]])
