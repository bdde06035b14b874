"""The words that deny or doubt, and where their reach ends: patterns, in the manner of NegEx."""

from __future__ import annotations

import re


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_DEGREE = r"(?:mild|mildly|moderate|severe|small|large|tiny|patchy|minimal|marked|subtle|new)"
_SEEN = (
    r"(?:seen|present|identified|visible|noted|evident|visuali[sz]ed|demonstrated|observed|apparent|detected|found"
    r"|appreciated|obvious|in\s+place)"
)

SENTENCE = re.compile(r"(?<!\bvs)(?<!\b[eE]\.g)(?<!\b[iI]\.e)(?<!\b[Dd]r)(?<!\bapprox)[.!?;:\n]+(?=\s|$)")
BREAK = _any(
    r"\b(?=(?:but|however|although|though|except|aside from|apart from|while|whereas|yet)\b)",
    r"(?:,|\band)\s+(?=(?:the|there|a|an|with|is|are)\b)",
    r",\s+(?=(?:it|they)\s+(?:is|are|was|were)\b)",
    rf",\s+(?=(?:and\s+)?{_DEGREE}\b(?!.*\b(?:or|nor)\b))",
)
PSEUDO = _any(
    r"\b(?:no|without)\s+(?:(?:interval|significant|appreciable)\s+)*(?:change|increase|decrease|growth)\b",
    r"\bnot\s+(?:only|necessarily)\b",
)
ABSENT_BEFORE = _any(
    r"\bno(?:\s+(?:definite|clear|convincing))?\s+(?:evidence|signs?)\s+of\b",
    r"\bwithout\s+(?:evidence|signs?)\s+of\b",
    r"\b(?:no|not|without|never|neither|nor|lacks|unlikely|isn't|aren't|doesn't)\b",
    r"\brul(?:es|ed|ing)\s+out\b|\b(?:inconsistent|not\s+consistent)\s+with\b",
    r"\b(?:negative\s+for|free\s+of|absence\s+of|lack\s+of|rather\s+than|instead\s+of)\b",
)
ABSENT_AFTER = _any(
    rf"\b(?:not|no\s+longer)\s+(?:\w+\s+)?{_SEEN}\b",
    r"\b(?:absent|unlikely)\b",
    r"\b(?:been|is|are|was|were)\s+(?:ruled\s+out|excluded)\b",
    r"\b(?:has|have|is|are)\s+resolved\b",
)
UNSURE_BEFORE = _any(
    r"\b(?:possibl[ey]|probabl[ey]|may|might|could|suspected|questionable|likely|equivocal|maybe|perhaps|presumed|if)\b",
    r"\b(?:suspicious\s+for|suspicion\s+of|question\s+of|concern(?:ing)?\s+for|suggest(?:s|ive|ing)?(?:\s+of)?)\b",
    r"\b(?:cannot\s+(?:exclude|rule\s+out)|rule\s+out|evaluate\s+for|versus|vs)\b",
)
UNSURE_AFTER = _any(
    r"\b(?:is|are)\s+(?:possible|suspected|questionable|likely|probable)\b",
    r"\b(?:cannot|can\s+not)\s+be\s+(?:excluded|ruled\s+out)\b",
    r"\bnot\s+excluded\b|\b(?:versus|vs)\b",
)
INSIDE = re.compile(r"\b(?:not|no)\b", re.IGNORECASE)
