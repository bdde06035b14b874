"""A cohort drawn at random, with an adjustable shortcut between findings and cues that do not cause them.

With probability ``shortcut`` a finding copies its cue, else it is drawn by its prevalence. Cue and finding have the
same prevalence, so their correlation is exactly ``shortcut`` and the prevalences do not depend on it:

==================  ==========================================
finding             cue
==================  ==========================================
pleural effusion    the film is anteroposterior ("AP" on it)
consolidation       a support device is seen
pneumothorax        the film is dark (overexposed)
cardiomegaly        a pleural effusion is present
side of a lesion    the side of the letter R or L on the film
==================  ==========================================

Nodules and atelectases have no cue. Every row is drawn from its own seed, so rows do not depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medpref.seeds import derive_seed
from medpref.sources.phantom_cohort import CARDIOMEGALY, CONSOLIDATION, DEVICE, EFFUSION, NODULE, PNEUMOTHORAX, Cohort

CUED_PREVALENCE = 0.35
FREE_PREVALENCE = 0.30
BOTH_SIDES = 0.2
_COLUMNS = 80


class _Draws:
    """Columns of a matrix of uniform numbers [study, column], handed out in order."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._matrix = np.stack([np.random.default_rng(seed).random(_COLUMNS) for seed in seeds])
        self._next = 0

    def columns(self, count: int) -> np.ndarray:
        self._next += count
        if self._next > _COLUMNS:
            raise IndexError(f"{self._next} uniform numbers a study asked for, {_COLUMNS} drawn")
        return self._matrix[:, self._next - count : self._next]

    def uniform(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        return low + (high - low) * self.columns(1)[:, 0]

    def chance(self, probability: float) -> np.ndarray:
        return self.uniform() < probability

    def whole(self, low: int, high: int) -> np.ndarray:
        """Integers from low to high inclusive."""
        return np.minimum(low + np.floor(self.uniform() * (high - low + 1)), high).astype(np.int64)

    def copy(self, cue: np.ndarray, prevalence: float, *, shortcut: float) -> np.ndarray:
        """The cue with probability ``shortcut``, else a draw of the same prevalence."""
        copied, own = self.chance(shortcut), self.chance(prevalence)
        return np.where(copied, cue, own)


def draw_cohort(seed: int, split: str, indices: Sequence[int], *, shortcut: float, studies_per_patient: int) -> Cohort:
    """The studies ``indices`` of a split. Studies of one patient share the anatomy, not films and findings."""
    patients = [derive_seed(seed, "phantom", split, "patient", str(i // studies_per_patient)) for i in indices]
    studies = [derive_seed(seed, "phantom", split, "study", str(i)) for i in indices]
    noise = [derive_seed(seed, "phantom", split, "noise", str(i)) for i in indices]
    anatomy = _anatomy(_Draws(patients))
    draws = _Draws(studies)
    film = _film(draws)
    found = _presence(draws, film, shortcut=shortcut)
    lesions = _lesions(draws, found, film["marker"], shortcut=shortcut)
    film["device"] = np.where(film.pop("has_device"), draws.whole(1, 3), 0)
    film["apex"] = anatomy.pop("apex") + np.where(film["anteroposterior"], 0.012, 0.0)
    film["base"] = anatomy.pop("base") - np.where(film["anteroposterior"], 0.03, 0.0) + film.pop("breath")
    film["heart_ratio"] = anatomy.pop("heart_ratio") * np.where(film["anteroposterior"], 1.05, 1.0)
    return Cohort(noise_seed=np.array(noise, dtype=np.int64), **anatomy, **film, **lesions)


def _anatomy(draws: _Draws) -> dict[str, np.ndarray]:
    """What a patient keeps from film to film."""
    return {
        "half_width": draws.uniform(0.335, 0.385),
        "apex": draws.uniform(0.085, 0.125),
        "base": draws.uniform(0.735, 0.785),
        "wall": draws.uniform(0.045, 0.105),
        "heart_ratio": draws.uniform(0.40, 0.47),
        "breast": np.where(draws.chance(0.4), draws.uniform(0.03, 0.07), 0.0),
        "rib_phase": draws.uniform(),
        "rib_gap": draws.uniform(0.082, 0.098),
        "vessels": draws.whole(0, 10**6),
    }


def _film(draws: _Draws) -> dict[str, np.ndarray]:
    """How the film was taken, with the cues."""
    dark = draws.chance(CUED_PREVALENCE)
    return {
        "anteroposterior": draws.chance(CUED_PREVALENCE),
        "has_device": draws.chance(CUED_PREVALENCE),
        "dark": dark,
        "marker": draws.whole(0, 1),
        "gain": np.where(dark, draws.uniform(0.74, 0.80), draws.uniform(0.95, 1.07)),
        "rotation": draws.uniform(-1.0, 1.0),
        "shift": draws.uniform(-0.02, 0.02),
        "breath": draws.uniform(-0.012, 0.012),
        "bubble": np.where(draws.chance(0.6), draws.uniform(0.6, 1.0), 0.0),
        "marker_jitter": draws.columns(2),
        "jitter": draws.columns(18).reshape(-1, 6, 3),
    }


def _presence(draws: _Draws, film: dict[str, np.ndarray], *, shortcut: float) -> dict[str, np.ndarray]:
    effusion = draws.copy(film["anteroposterior"], CUED_PREVALENCE, shortcut=shortcut)
    return {
        EFFUSION: effusion,
        CARDIOMEGALY: draws.copy(effusion, CUED_PREVALENCE, shortcut=shortcut),
        CONSOLIDATION: draws.copy(film["has_device"], CUED_PREVALENCE, shortcut=shortcut),
        PNEUMOTHORAX: draws.copy(film["dark"], CUED_PREVALENCE, shortcut=shortcut),
        NODULE: draws.chance(FREE_PREVALENCE),
        "atelectasis": draws.chance(FREE_PREVALENCE),
    }


def _lesions(
    draws: _Draws, found: dict[str, np.ndarray], marker: np.ndarray, *, shortcut: float
) -> dict[str, np.ndarray]:
    """Grades and places. Lesions take free slots, so that none hides another; the letter's side is preferred."""
    rows = np.arange(len(marker))
    heart = np.where(found[CARDIOMEGALY], draws.whole(1, 3), 0)
    taken = np.zeros((len(marker), 6), bool)

    both, side = draws.chance(BOTH_SIDES), draws.copy(marker, 0.5, shortcut=shortcut)
    grade = draws.whole(1, 3)
    grade = np.where(both, np.minimum(grade, 2), grade)
    affected = found[EFFUSION][:, None] & (both[:, None] | (side[:, None] == (0, 1)))
    taken[:, (2, 5)] = affected
    taken[:, (1, 4)] = affected & (grade == 3)[:, None]
    effusion = affected * grade[:, None]

    side = np.where(found[PNEUMOTHORAX], draws.copy(marker, 0.5, shortcut=shortcut).astype(np.int64), -1)
    pneumothorax = np.where(found[PNEUMOTHORAX], draws.whole(1, 3), 0)
    taken[rows[found[PNEUMOTHORAX]], 3 * side[found[PNEUMOTHORAX]]] = True

    big = heart > 1  # a big heart hides the left lower zone
    slots: dict[str, np.ndarray] = {}
    for finding in ("atelectasis", CONSOLIDATION):
        wanted = draws.copy(marker, 0.5, shortcut=shortcut)
        score = draws.columns(6) + 2.0 * (np.arange(6) // 3 == wanted[:, None]) - 16.0 * taken
        score[:, 5] -= 4.0 * big
        if finding == "atelectasis":
            score[:, (0, 3)] -= 64.0  # plate atelectasis is basal
        slots[finding] = np.where(found[finding], score.argmax(1), -1)
        taken[rows[found[finding]], slots[finding][found[finding]]] = True
    return {
        "heart_grade": heart,
        "effusion_grade": effusion,
        "pneumothorax_grade": pneumothorax,
        "pneumothorax_side": side,
        "consolidation_grade": np.where(found[CONSOLIDATION], draws.whole(1, 3), 0),
        "consolidation_slot": slots[CONSOLIDATION],
        "atelectasis_slot": slots["atelectasis"],
        "nodule_slots": _nodule_slots(draws, found[NODULE], taken, big=big),
    }


def _nodule_slots(draws: _Draws, found: np.ndarray, taken: np.ndarray, *, big: np.ndarray) -> np.ndarray:
    """One to three free slots of each study with nodules (at least one, whatever is taken)."""
    count = draws.whole(1, 3)
    score = draws.columns(6) - 16.0 * taken
    score[:, 5] -= 4.0 * big
    rank = np.argsort(np.argsort(-score, axis=1), axis=1)
    chosen = (rank < count[:, None]) & ((score > -2.0) | (rank == 0))
    return chosen & found[:, None]


def cues(cohort: Cohort) -> dict[str, np.ndarray]:
    """Each finding's cue: bool [study]. Findings without a cue are left out."""
    return {
        EFFUSION: cohort.anteroposterior,
        CONSOLIDATION: cohort.present(DEVICE),
        PNEUMOTHORAX: cohort.dark,
        CARDIOMEGALY: cohort.present(EFFUSION),
    }
