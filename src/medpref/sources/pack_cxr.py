"""Questions about the pack's chest X-rays, made from what radiologists recorded and drew; no notes, no diagnoses.

Every film with a stated projection gets the question which view it is. The 33 films with radiologist-drawn masks get a
presence question for each finding in `FINDINGS`, with the masks as regions; only there does a missing mask mean absent.
All 33 have ground-glass opacities (they were chosen for it), so that question's answer is always yes: read its accuracy
together with that of consolidation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from medpref.errors import DataError
from medpref.imaging.decode import read_array
from medpref.imaging.regions import region_of
from medpref.schema import Example, Fact, ImageRef, Region
from medpref.sources.rows import YES_NO

VIEWS = {"PA": "PA", "AP": "AP", "AP Supine": "AP", "Lateral": "Lateral"}
VIEW_QUESTION = "Which view is this chest X-ray?"
DRAWN = "drawn by radiologists"


class Finding(NamedTuple):
    """A finding that masks were drawn for: its name in the id and in facts, its mask label, its question."""

    name: str
    label: str
    question: str


FINDINGS = (
    Finding("consolidation", "Consolidation", "Is there consolidation?"),
    Finding("ground-glass opacities", "Ground Glass Opacities", "Are there ground-glass opacities?"),
)


def cxr_examples(record: Mapping[str, Any], ref: ImageRef, folder: Path) -> Iterator[Example]:
    """The questions about one film: its view, and the findings on a film with drawn masks."""
    shared = {"patient": record["group"], "images": (ref,), "split": record["split"], "source": "pack"}
    tags = {"source": "cxr", "modality": "XR", "noncommercial": "yes" if record["noncommercial_only"] else "no"}
    if record["view"] in VIEWS:
        yield Example(
            id=f"{record['id']}/view",
            question=VIEW_QUESTION,
            answer=VIEWS[record["view"]],
            kind="view",
            answer_type="closed",
            choices=tuple(sorted(set(VIEWS.values()))),
            tags={**tags, "view": record["view"]},
            **shared,
        )
    drawn = [mask for mask in record["masks"] if mask["origin"] == DRAWN]
    for finding in FINDINGS if drawn else ():
        masks = [mask for mask in drawn if mask["label"] == finding.label]
        yield Example(
            id=f"{record['id']}/{finding.name.replace(' ', '-')}",
            question=finding.question,
            answer="yes" if masks else "no",
            kind="presence",
            answer_type="closed",
            choices=YES_NO,
            regions=tuple(read_region(mask, record, folder, label=finding.name) for mask in masks),
            facts=(Fact(finding=finding.name, present=bool(masks)),),
            tags={**tags, "finding": finding.name, "polarity": "present" if masks else "absent"},
            **shared,
        )


def read_region(mask: Mapping[str, Any], record: Mapping[str, Any], folder: Path, *, label: str) -> Region:
    """A mask file as a region; DataError where it is not the size of its image."""
    path = folder / mask["file"]
    inside = read_array(path) > 0
    if inside.shape != (record["height"], record["width"]):
        given, expected = f"{inside.shape[1]} x {inside.shape[0]} pixels", f"{record['width']} x {record['height']}"
        raise DataError(str(path), given=given, expected=expected, todo="restore the file (sha256sum -c SHA256SUMS)")
    return region_of(inside, label=label, origin=mask["origin"])
