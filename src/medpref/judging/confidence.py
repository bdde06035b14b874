"""The localizer's confidence as a weight: for pairs whose preference lies in the image."""

from __future__ import annotations

from typing import Literal

from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict


@JUDGES.add
class RegionConfidence(Frozen):
    """The mean confidence of the example's regions (curation passes those that the localizer found).

    None where there is no region, or where no region has a confidence: dataset masks usually have none.
    """

    kind: Literal["region_confidence"] = "region_confidence"

    def judge(self, example: Example, reply: str) -> Verdict:
        given = [region.confidence for region in example.regions if region.confidence is not None]
        if not given:
            return Verdict(None, "no region with a confidence")
        return Verdict(sum(given) / len(given), f"mean confidence of {len(given)} regions")
