"""Verdict rows of a report: which findings it asserts and denies, against those of the reference.

Precision, recall and F1 are by polarity, because "everything normal" is right about most absent findings. An
unsupported claim is a finding asserted that the reference does not assert, whether it denies it or is silent: metrics
that count contradictions alone let an invented finding pass.

Knows: the rule-based reader. Does not know: attributes (side, size), or whether the reference is right.
"""

from __future__ import annotations

from collections.abc import Mapping

from medpref.evaluation.vqa import row_of
from medpref.language.findings import polarities
from medpref.schema import Example, VerdictRow

POLARITIES = ("present", "absent")


def report_rows(example: Example, reply: str) -> list[VerdictRow]:
    """``report_findings``: counts as evidence; its value is the F1 of present findings, None where there are none.

    The reference's text says what should be said; the example's facts only support further claims (a study may show
    more than its report mentions).
    """
    reference, claimed = polarities(example.answer), polarities(reply)
    evidence = {"reply": reply, "answer": example.answer}
    for polarity in POLARITIES:
        wanted, given = _those(reference, polarity), _those(claimed, polarity)
        evidence[f"{polarity}_hits"] = str(len(wanted & given))
        evidence[f"{polarity}_claimed"] = str(len(given))
        evidence[f"{polarity}_reference"] = str(len(wanted))
    wanted, given = _those(reference, "present"), _those(claimed, "present")
    known = {name for fact in example.facts if fact.present for name in polarities(fact.finding) or (fact.finding,)}
    invented, missed = sorted(given - wanted - known), sorted(wanted - given)
    evidence["unsupported"] = str(len(invented))
    total = len(given) + len(wanted)
    value = 2 * len(wanted & given) / total if total else None
    reason = f"unsupported: {', '.join(invented) or 'none'}; missed: {', '.join(missed) or 'none'}"
    return [row_of(example, "report_findings", value, reason=reason, evidence=evidence)]


def _those(said: Mapping[str, str], polarity: str) -> set[str]:
    return {finding for finding, held in said.items() if held == polarity}
