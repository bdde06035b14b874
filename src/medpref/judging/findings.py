"""Agreement finding by finding, with polarity: what is matched, missed, unsupported, contradicted."""

from __future__ import annotations

from typing import Literal, NamedTuple

from medpref.language.findings import Statement, polarities, statements
from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict

EXACT_ATTRIBUTES = ("side", "zone", "severity", "size", "count")


class Comparison(NamedTuple):
    """How a reply's findings stand to the reference's, as names of findings.

    matched: said alike. missing: left out. unsupported: asserted without support. contradicted: said the other way
    round. altered: said of another place or degree, as ``finding: attribute reference/reply``.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unsupported: tuple[str, ...]
    contradicted: tuple[str, ...]
    altered: tuple[str, ...]


def compare(reference: str, reply: str) -> Comparison:
    """How a reply's findings stand to the reference's; a denied finding that the reference leaves out is no error."""
    ours, theirs = polarities(reference), polarities(reply)
    both = [name for name in ours if name in theirs]
    return Comparison(
        matched=tuple(name for name in both if ours[name] == theirs[name]),
        missing=tuple(name for name in ours if name not in theirs and ours[name] == "present"),
        unsupported=tuple(name for name in theirs if name not in ours and theirs[name] == "present"),
        contradicted=tuple(name for name in both if ours[name] != theirs[name]),
        altered=_altered(statements(reference), statements(reply)),
    )


def _altered(ours: tuple[Statement, ...], theirs: tuple[Statement, ...]) -> tuple[str, ...]:
    found = []
    said = {one.finding: one.attributes for one in reversed(theirs) if one.polarity == "present"}
    for one in ours:
        for kind in EXACT_ATTRIBUTES:
            right, got = one.attributes.get(kind), said.get(one.finding, {}).get(kind)
            if one.polarity == "present" and right and got and right != got:
                found.append(f"{one.finding}: {kind} {right}/{got}")
    return tuple(found)


@JUDGES.add
class FindingAgreement(Frozen):
    """F1 of the reply's findings against the reference's; a match is the same finding with the same polarity.

    2 matched / (2 matched + missing + unsupported + 2 contradicted). None where neither text speaks of a finding.
    """

    kind: Literal["findings"] = "findings"

    def judge(self, example: Example, reply: str) -> Verdict:
        found = compare(example.answer, reply)
        evidence = {name: ", ".join(names) for name, names in found._asdict().items() if names}
        matched, wrong = (
            2 * len(found.matched),
            len(found.missing) + len(found.unsupported) + 2 * len(found.contradicted),
        )
        if not matched + wrong:
            return Verdict(None, "neither text speaks of a finding", evidence)
        return Verdict(matched / (matched + wrong), f"{len(found.matched)} findings alike", evidence)
