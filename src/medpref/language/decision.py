"""Whether a reply says yes or no: by its first word, by what it states or denies, or by contradicting the question.

Knows: words of assertion, denial and doubt, and the lexicon's findings and opposites. Does not know: the image. A
decision is never found by substring, and a reply that does not decide is None, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medpref.language.deny import noun_phrase
from medpref.language.findings import ASSERTED, Mention, mentions, sentences
from medpref.language.normal import tokens
from medpref.language.wording import looks_plural

_LEAD = re.compile(
    r"^\W*(?:(yes|yeah|yep|true|correct|incorrect|false|affirmative|negative)\b"
    r"|(no|nope)\b(?=\s*(?:[.,;:!—–-]|$)|\s+(?:there|the|it|this|that|these|they|he|she|i|we)\b))",
    re.IGNORECASE,
)
_ANSWER_IS = re.compile(r"\banswer\s*(?:is|:|would be)\s*[\"'*]*(yes|no|true|false)\b", re.IGNORECASE)
_AFFIRMS = frozenset({"yes", "yeah", "yep", "true", "correct", "affirmative"})
_UNDECIDED = re.compile(
    r"\b(?:not\s+(?:sure|certain|clear\s+(?:if|whether|from)|possible\s+to|enough|able\s+to|known|applicable)|unsure|unclear|uncertain"
    r"|unknown|indeterminate|maybe|perhaps|possibl[ey]|might|may\s+be|unable|difficult\s+to|hard\s+to"
    r"|(?:do\s+not|don['’]?t|not|cannot|can['’]?t)\s+(?:really\s+)?know\b"
    r"|^not\s+clear|it\s+is\s+not\s+clear|no\s+(?:idea|way\s+(?:to|of)|information|answer|comment)"
    r"|(?:cannot|can['’]?t|can\s+not|could\s+not|couldn['’]?t)\s+(?:be\s+)?"
    r"(?:determin|tell|told|say|said|exclude|rule|ruled|answer|assess|evaluat|confirm|see\s+(?:the|this|an?|any)\s+"
    r"(?:image|picture|scan|film))\w*|insufficient|inconclusive)",
    re.IGNORECASE,
)
_SURE = re.compile(
    r"\b(?:no|without(?:\s+(?:a|any))?)\s+(?:doubt|question)\b|\bno\s+(?:interval\s+)?change\b|\bnot\s+only\b(?=.*\bbut\b)",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:no|not|none|nothing|without|absent|absence|neither|nor|never|isn['’]?t|aren['’]?t|doesn['’]?t|don['’]?t|cannot"
    r"|negative\s+for|free\s+of)\b",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"\b(?:there\s+(?:is|are|appears?\s+to\s+be)|(?:is|are)\s+(?:\w+ly\s+)?(?:present|seen|visible|evident|noted"
    r"|identified)|shows?|demonstrates?|reveals?)\b",
    re.IGNORECASE,
)
_EXCLUSIVE = (
    "side", "zone", "modality", "plane", "contrast", "density", "normality", "sequence", "size", "nature", "change",
)  # fmt: skip
_NORMS = frozenset({"normal", "clear", "intact", "symmetric", "midline", "sharp"})
_THE = re.compile(
    r"\b(?:the|this|that|these|those|his|her)\s+"
    r"(?:(?!(?:an?|any|show\w*|has|have|with|of|in|is|are|there)\b)[\w-]+\s+){0,2}$",
    re.IGNORECASE,
)
_EXISTS = re.compile(
    r"\b(?:there|any|anything|something|present|presence|evidence|signs?|seen|see|shown?|shows|ha(?:s|ve)|evident|visible"
    r"|display(?:s|ed)?|depict(?:s|ed)?|appreciated?|identif\w+|detect\w*|noted|visuali[sz]ed?|this)\b",
    re.IGNORECASE,
)
_WRONG = re.compile(r"\b(?:anything|something)\s+(?:\w+\s+)?(?:wrong|abnormal|unusual)\b", re.IGNORECASE)
_STOP = frozenset(
    {
        "is", "are", "was", "were", "be", "been", "do", "does", "did", "there", "any", "this", "that", "these", "those",
        "of", "in", "on", "at", "to", "for", "with", "and", "or", "it", "its", "has", "have", "had", "image", "picture",
        "scan", "film", "patient", "you", "see", "seen", "evidence", "present", "show", "shows", "shown", "what",
        "which", "where", "how", "can", "could", "would", "will", "by", "from", "as", "not", "no", "some", "more",
        "most", "than",
    }
)  # fmt: skip


def decision(reply: str, question: str = "") -> str | None:
    """``yes`` or ``no`` as the reply first decides, or None where it does not decide.

    A leading yes or no decides; then "the answer is ..."; then the first sentence that states or denies something.
    With the question: what it names and the sentence says otherwise is denied ("Is it on the left?" "It is on the
    right."), and a sentence that takes up its words states or denies them ("The trachea is midline.").

    >>> decision("There is no pneumothorax."), decision("Normal chest."), decision("I do not know.")
    ('no', None, None)
    """
    if _UNDECIDED.match(reply.strip()):
        return None
    lead, named = _LEAD.search(reply), _ANSWER_IS.search(reply)
    said = (lead.group(1) or lead.group(2)) if lead else (named.group(1) if named else "")
    if said:
        return "yes" if said.lower() in _AFFIRMS else "no"
    for start, end in sentences(reply):
        sentence = reply[start:end]
        if _UNDECIDED.search(sentence):
            return None
        stated = _stated(question, _SURE.sub(" ", sentence))
        if stated:
            return stated
    return None


def _stated(question: str, sentence: str) -> str | None:
    """What one sentence decides: by the lexicon where it speaks of what is asked, else by its verbs and negations."""
    shared = bool((set(tokens(question)) - _STOP) & set(tokens(sentence)))
    asked, said = mentions(question), mentions(sentence)
    findings = {one.concept.name: one.polarity for one in said if one.concept.type in ASSERTED}
    if any(_otherwise(kind, asked, [one for one in said if _holds(one, sentence)]) for kind in _EXCLUSIVE):
        return "no"
    held = [(one.match.form.denies, findings[one.concept.name]) for one in asked if _sought(one, question, findings)]
    if held:
        denies, polarity = held[0]
        return None if polarity == "uncertain" else ("no" if (polarity == "absent") != denies else "yes")
    norm = _asks_for_the_norm(asked)
    if norm and any(one.concept.type == "normality" and _holds(one, sentence) for one in said if not _is_norm(one)):
        return "no"
    if findings and norm:
        placed = shared or not any(one.concept.type == "organ" for one in asked)
        return ("no" if "present" in findings.values() else "yes") if placed else None
    fine = any(one.concept.name == "normal" and one.polarity == "present" for one in said)
    if _DENIES.search(sentence) or (fine and shared and not norm):
        return "no"
    return "yes" if _STATES.search(sentence) or shared else None


class Asked(NamedTuple):
    """What a yes-or-no question asks the presence of, in its words, and whether yes means that it is there."""

    finding: str
    yes_is_present: bool


def presence_asked(question: str) -> Asked | None:
    """The finding or device whose presence a question asks for; None where it asks for something else.

    >>> presence_asked("Is there a pneumothorax?"), presence_asked("Is this film normal?")
    (Asked(finding='pneumothorax', yes_is_present=True), Asked(finding='abnormality', yes_is_present=False))
    >>> presence_asked("Does the mass enhance?") is None
    True
    """
    asked = mentions(question)
    for one in (one for one in asked if one.concept.type in ASSERTED and one.cue is None):
        whole = one.match.gap != (0, 0)
        if whole or (not _THE.search(question[: one.start]) and _EXISTS.search(question)):
            return Asked(_named(question, one), not one.match.form.denies)
    placed = any(one.concept.type == "organ" for one in asked)
    if _WRONG.search(question):
        return Asked("abnormality", True)
    norms = [one for one in asked if one.concept.type == "normality" and one.concept.name in ("normal", "abnormal")]
    return Asked("abnormality", norms[0].concept.name == "abnormal") if norms and not placed else None


def _named(question: str, one: Mention) -> str:
    """The question's words for a finding, in the singular: "an enhancing lesion" is asked for, not a lesion."""
    if one.match.gap != (0, 0) or one.match.form.denies:
        return one.concept.forms[0]
    many = one.match.plural or looks_plural(one.match.form.text)
    return " ".join((*noun_phrase(question, one).kept, one.concept.forms[0] if many else question[one.start : one.end]))


def _sought(one: Mention, question: str, findings: Mapping[str, str]) -> bool:
    """Whether a question asks if there is a finding: not where it asks about one ("Does the mass enhance?")."""
    subject = _THE.search(question[: one.start]) and one.match.gap == (0, 0)
    return one.concept.name in findings and not subject


def _asks_for_the_norm(asked: Sequence[Mention]) -> bool:
    """Whether a question asks if something is as it should be (normal, clear, midline)."""
    return any(_is_norm(one) or one.match.form.denies for one in asked)


def _is_norm(one: Mention) -> bool:
    return one.concept.type == "normality" and one.concept.name in _NORMS


def _holds(one: Mention, sentence: str) -> bool:
    """Whether a concept is affirmed; "clear" before a noun says how sure one is ("a clear fracture")."""
    sure = one.concept.name == "clear" and re.match(r"\s+[a-z]", sentence[one.end :]) is not None
    return one.polarity == "present" and not sure


def _otherwise(kind: str, asked: Sequence[Mention], said: Sequence[Mention]) -> bool:
    """Whether the question names one concept of a type and the sentence affirms another one in its place."""
    wanted = {one.concept.name for one in asked if one.concept.type == kind}
    affirmed = {one.concept.name for one in said if one.concept.type == kind and one.polarity == "present"}
    one_for_both = wanted and affirmed == {"both"} and wanted <= {"left", "right"}
    return len(wanted) == 1 and bool(affirmed) and not affirmed & wanted and not one_for_both
