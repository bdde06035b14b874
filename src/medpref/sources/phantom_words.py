"""What is said about a study: wordings of questions, and answers and reports as pure functions of the facts.

A counterfactual answer is the same function of the facts with the finding taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medpref.schema import Fact
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
)

Facts = Mapping[str, Fact]
NONE = "None"
NUMBERS = ("none", "one", "two", "three", "four", "five", "six")
_AN = {CARDIOMEGALY: "cardiomegaly", CONSOLIDATION: "consolidation", ATELECTASIS: "atelectasis"}

WORDINGS: dict[str, tuple[str, ...]] = {
    "presence": ("Is there {a}?", "Does this film show {a}?", "Is {a} seen on this chest radiograph?"),
    "side": (
        "On which side is the {it}?",
        "Which side does the {it} affect?",
        "Is the {it} right, left or on both sides?",
    ),
    "zone": ("In which zone is the {it}?", "Where is the {it}?", "Which lung zone shows the {it}?"),
    "severity": ("How {much} is the {it}?", "What is the grade of the {it}?", "Grade the {it}."),
    "count/nodule": ("How many nodules are seen?", "Count the nodules.", "What is the number of nodules?"),
    "count/abnormality": ("How many different abnormalities are seen?", "Count the kinds of abnormality."),
    "abnormality": ("What abnormality is seen?", "Which abnormalities does this film show?", "What is abnormal?"),
    "view": ("Is this an AP or a PA film?", "Which projection is this?", "What is the view?"),
    "device/presence": ("Is there a support device?", "Does this film show a support device?"),
    "device/which": ("Which support device is seen?", "What device is in place?"),
    "report": ("Describe the findings.", "Write the findings of this chest radiograph.", "Report this film."),
    "region": ("What is in the marked region?", "What does the box show?"),
    "compare": (
        "From the first film to the second, is the {it} better, worse or unchanged?",
        "How has the {it} changed from the first film to the second: better, worse or unchanged?",
    ),
}


def wording(key: str, draw: float, *, finding: str = "") -> str:
    """One of the wordings, by a number in [0, 1)."""
    options = WORDINGS[key]
    much = "large" if GRADES.get(finding, ("",))[0] == "small" else "severe"
    return options[int(draw * len(options))].format(a=_AN.get(finding, f"a {finding}"), it=finding, much=much)


def side(facts: Facts, finding: str) -> str:
    """Right, Left, Both or None."""
    return str(facts[finding].side).capitalize() if finding in facts else NONE


def zone(facts: Facts, finding: str) -> str:
    """For example ``Right lower zone``, or None."""
    fact = facts.get(finding)
    return f"{str(fact.side).capitalize()} {fact.zone} zone" if fact else NONE


def severity(facts: Facts, finding: str) -> str:
    """The grade's word, or None."""
    return str(facts[finding].severity).capitalize() if finding in facts else NONE


def presence(facts: Facts, finding: str) -> str:
    """Yes or No."""
    return "Yes" if finding in facts else "No"


def nodules(facts: Facts) -> str:
    """How many nodules."""
    fact = facts.get(NODULE)
    return NUMBERS[fact.count or 0 if fact else 0].capitalize()


def abnormalities(facts: Facts) -> str:
    """How many kinds of lesion; devices do not count."""
    return NUMBERS[sum(finding in facts for finding in LESIONS)].capitalize()


def abnormality(facts: Facts) -> str:
    """All kinds of lesion in a fixed order, or None; devices are not abnormal."""
    found = [finding for finding in LESIONS if finding in facts]
    return _sentence(_list(found)) if found else NONE


def device(facts: Facts) -> str:
    """Which device, or None."""
    return _sentence(str(facts[DEVICE].sign)) if DEVICE in facts else NONE


def marked(facts: Facts, finding: str) -> str:
    """What a box shows that was drawn around a finding, or around empty lung."""
    return _sentence(finding) if finding in facts else "No abnormality"


def change(before: Facts, after: Facts, finding: str) -> str:
    """Better, worse or unchanged, by grade; a new finding is worse, a resolved one better."""
    first, second = (_rank(facts, finding) for facts in (before, after))
    return "Unchanged" if first == second else ("Worse" if second > first else "Better")


def _rank(facts: Facts, finding: str) -> int:
    return 1 + GRADES[finding].index(str(facts[finding].severity)) if finding in facts else 0


def report(facts: Facts) -> str:
    """Three or four sentences: heart, pleura, lungs, and the device if there is one."""
    sentences = [_heart(facts), _pleura(facts), _lungs(facts)]
    if DEVICE in facts:
        sign = str(facts[DEVICE].sign)
        sentences.append(f"{'An' if sign[0] in 'aeiou' else 'A'} {sign} is in place.")
    return " ".join(sentences)


def _heart(facts: Facts) -> str:
    fact = facts.get(CARDIOMEGALY)
    if fact is None:
        return "Heart size is normal."
    adverb = {"mild": "mildly", "moderate": "moderately", "severe": "severely"}[str(fact.severity)]
    return f"The heart is {adverb} enlarged."


def _pleura(facts: Facts) -> str:
    parts = []
    if fact := facts.get(EFFUSION):
        parts.append(
            f"{fact.severity} bilateral pleural effusions"
            if fact.side == "both"
            else f"a {fact.severity} {fact.side} pleural effusion"
        )
    if fact := facts.get(PNEUMOTHORAX):
        parts.append(f"a {fact.severity} {fact.side} pneumothorax")
    return _there(parts) if parts else "No pleural effusion or pneumothorax."


def _lungs(facts: Facts) -> str:
    parts = []
    if fact := facts.get(CONSOLIDATION):
        parts.append(f"{fact.severity} consolidation in the {fact.side} {fact.zone} zone")
    if fact := facts.get(ATELECTASIS):
        parts.append(f"atelectasis in the {fact.side} {fact.zone} zone")
    if fact := facts.get(NODULE):
        parts.append(_nodule(fact))
    return _there(parts) if parts else "The lungs are clear."


def _nodule(fact: Fact) -> str:
    many = (fact.count or 1) > 1
    what = f"{NUMBERS[fact.count or 1]} nodules" if many else "a nodule"
    if fact.side == "both":
        return f"{what} in both lungs"
    return f"{what} in the {fact.side} " + ("lung" if many else f"{fact.zone} zone")


def _there(parts: Sequence[str]) -> str:
    plural = " bilateral " in parts[0] or " nodules " in parts[0]
    return f"There {'are' if plural else 'is'} {_list(parts)}."


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
