"""A question that can be made of train images, before quotas; and why one could not be made."""

from __future__ import annotations

from typing import NamedTuple

from medpref.curation.seen import Seen
from medpref.imaging.mark import Box
from medpref.schema import Example

REGION, COMPARE = "region", "compare"


class Candidate(NamedTuple):
    """A question with its stratum (what quotas are counted by); ``box`` is to be painted into its one image."""

    example: Example
    stratum: str
    box: Box | None = None


class NotMade(NamedTuple):
    """A question of a task that could not be made, of which image (its first example), and why."""

    task: str
    of: str
    reason: str


def slug(text: str) -> str:
    """A finding as part of an example's id."""
    return "-".join(text.lower().split())


def tags_of(seen: Seen, *, task: str, finding: str, present: bool) -> dict[str, str]:
    """The tags of a made question: what kind of image it is about, and what is asked."""
    return {**seen.sort, "finding": finding, "polarity": "present" if present else "absent", "task": task}
