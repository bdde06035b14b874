"""Who is on the film: a cohort of studies as arrays, one row a study, with everything that drawing and asking need.

Knows: the words for findings, sides, zones and grades, and which lesion lies where. Does not know how rows are drawn
at random (`phantom_shortcut`) or how they look (`phantom_anatomy`, `phantom_lesions`).

Side 0 is the patient's right, which is the picture's left. A *slot* is one of six lung areas, ``3 * side + zone``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace

import numpy as np

from medpref.schema import Fact

CARDIOMEGALY, EFFUSION, PNEUMOTHORAX = "cardiomegaly", "pleural effusion", "pneumothorax"
CONSOLIDATION, ATELECTASIS, NODULE, DEVICE = "consolidation", "atelectasis", "nodule", "support device"
LESIONS = (CARDIOMEGALY, EFFUSION, PNEUMOTHORAX, CONSOLIDATION, ATELECTASIS, NODULE)
FINDINGS = (*LESIONS, DEVICE)
SIDES = ("right", "left")
ZONES = ("upper", "middle", "lower")
DEVICES = ("", "pacemaker", "central venous catheter", "endotracheal tube")
_EXTENT, _DEGREE = ("small", "moderate", "large"), ("mild", "moderate", "severe")
GRADES = {CARDIOMEGALY: _DEGREE, EFFUSION: _EXTENT, PNEUMOTHORAX: _EXTENT, CONSOLIDATION: _DEGREE}
FILM_WIDTH_MM = 400


@dataclass(frozen=True)
class Cohort:
    """Arrays with one row a study. Lengths are fractions of the film's width; slots and sides of absent lesions are -1.

    ``noise_seed`` makes the film's noise and texture, so that a row with a lesion taken away is the same film.
    """

    noise_seed: np.ndarray
    half_width: np.ndarray
    apex: np.ndarray
    base: np.ndarray
    wall: np.ndarray
    heart_ratio: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    gain: np.ndarray
    breast: np.ndarray
    rib_phase: np.ndarray
    rib_gap: np.ndarray
    vessels: np.ndarray
    bubble: np.ndarray
    jitter: np.ndarray  # [study, slot, 3] in [0, 1): across, down and size of what lies in that slot
    marker_jitter: np.ndarray  # [study, 2]
    anteroposterior: np.ndarray
    marker: np.ndarray  # the side whose letter is on the film
    dark: np.ndarray
    device: np.ndarray  # index into DEVICES
    heart_grade: np.ndarray  # 0 absent, else 1..3, as for every grade below
    effusion_grade: np.ndarray  # [study, side]
    pneumothorax_grade: np.ndarray
    pneumothorax_side: np.ndarray
    consolidation_grade: np.ndarray
    consolidation_slot: np.ndarray
    atelectasis_slot: np.ndarray
    nodule_slots: np.ndarray  # bool [study, slot]

    def __len__(self) -> int:
        return len(self.noise_seed)

    def take(self, rows: np.ndarray | slice) -> Cohort:
        """These rows, in this order (they may repeat)."""
        return Cohort(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def join(self, other: Cohort) -> Cohort:
        """These rows, then the other's."""
        both = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return Cohort(**{name: np.concatenate(pair) for name, pair in both.items()})

    def present(self, finding: str) -> np.ndarray:
        """Whether each study shows the finding: bool [study]."""
        shown: dict[str, np.ndarray] = {
            CARDIOMEGALY: self.heart_grade > 0,
            EFFUSION: np.any(self.effusion_grade > 0, axis=1),
            PNEUMOTHORAX: self.pneumothorax_grade > 0,
            CONSOLIDATION: self.consolidation_grade > 0,
            ATELECTASIS: self.atelectasis_slot >= 0,
            NODULE: np.any(self.nodule_slots, axis=1),
            DEVICE: self.device > 0,
        }
        return shown[finding]

    def without(self, findings: Collection[str]) -> Cohort:
        """The same films without these findings: the counterfactual of every row."""
        none, away = np.zeros_like, lambda array: np.full_like(array, -1)
        taken: dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]] = {
            CARDIOMEGALY: {"heart_grade": none},
            EFFUSION: {"effusion_grade": none},
            PNEUMOTHORAX: {"pneumothorax_grade": none, "pneumothorax_side": away},
            CONSOLIDATION: {"consolidation_grade": none, "consolidation_slot": away},
            ATELECTASIS: {"atelectasis_slot": away},
            NODULE: {"nodule_slots": none},
            DEVICE: {"device": none},
        }
        blank = {name: make(getattr(self, name)) for finding in findings for name, make in taken[finding].items()}
        return replace(self, **blank)


def nodule_radius(jitter: np.ndarray) -> np.ndarray:
    """A nodule's radius as a fraction of the film's width, from its slot's third draw (18 to 24 mm)."""
    return 0.044 + 0.016 * jitter


def facts(cohort: Cohort, row: int) -> dict[str, Fact]:
    """What one study shows, in words, by finding; absent findings are left out."""
    found: dict[str, Fact] = {}
    if grade := int(cohort.heart_grade[row]):
        found[CARDIOMEGALY] = _fact(CARDIOMEGALY, grade=grade)
    grades = cohort.effusion_grade[row]
    if grades.any():
        found[EFFUSION] = _fact(EFFUSION, side=_side(grades > 0), grade=int(grades.max()))
    if grade := int(cohort.pneumothorax_grade[row]):
        found[PNEUMOTHORAX] = _fact(PNEUMOTHORAX, side=SIDES[cohort.pneumothorax_side[row]], grade=grade)
    if grade := int(cohort.consolidation_grade[row]):
        found[CONSOLIDATION] = _placed(CONSOLIDATION, int(cohort.consolidation_slot[row]), grade=grade)
    if (slot := int(cohort.atelectasis_slot[row])) >= 0:
        found[ATELECTASIS] = _placed(ATELECTASIS, slot, grade=0)
    if cohort.nodule_slots[row].any():
        found[NODULE] = _nodules(np.flatnonzero(cohort.nodule_slots[row]), cohort.jitter[row, :, 2])
    if kind := int(cohort.device[row]):
        found[DEVICE] = Fact(finding=DEVICE, sign=DEVICES[kind])
    return found


def _fact(finding: str, *, grade: int, side: str | None = None, zone: str | None = None) -> Fact:
    return Fact(finding=finding, side=side, zone=zone, severity=GRADES[finding][grade - 1] if grade else None)


def _placed(finding: str, slot: int, *, grade: int) -> Fact:
    return _fact(finding, grade=grade, side=SIDES[slot // 3], zone=ZONES[slot % 3])


def _nodules(slots: np.ndarray, jitter: np.ndarray) -> Fact:
    """One fact for all nodules of a study: zone only where they share it, size of the largest."""
    zones = {ZONES[slot % 3] for slot in slots}
    size_mm = round(2 * float(nodule_radius(jitter[slots]).max()) * FILM_WIDTH_MM)
    return Fact(
        finding=NODULE,
        side=_side(np.isin((0, 1), slots // 3)),
        zone=zones.pop() if len(zones) == 1 else None,
        size=f"{size_mm} mm",
        count=len(slots),
    )


def _side(affected: np.ndarray) -> str:
    return "both" if affected.all() else SIDES[int(np.argmax(affected))]
