"""Normal forms of short answers, and the decision that a reply states.

Knows: yes/no and choices, with negation. Does not know: the image, nor open-ended meaning.
A decision is never found by substring: "no" is not in "normal".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from medpref.language.findings import mentions, sentences

YES_NO = frozenset({"yes", "no"})
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10",
}  # fmt: skip
_X_RAY = re.compile(r"\bx ray\b")
_NOT_WORD = re.compile(r"[^\w\s.]|(?<!\d)\.|\.(?!\d)|_")

_LEAD = re.compile(
    r"^\W*(yes|yeah|no|true|false|correct|incorrect|affirmative|negative)\b(?!\s+(?:longer|change))", re.IGNORECASE
)
_ANSWER_IS = re.compile(r"\banswer\s*(?:is|:|would be)\s*[\"'*]*(yes|no|true|false)\b", re.IGNORECASE)
_AFFIRMS = frozenset({"yes", "yeah", "true", "correct", "affirmative"})
_UNDECIDED = re.compile(
    r"\b(?:not\s+(?:sure|certain|clear|possible\s+to)|unsure|unclear|uncertain|maybe|perhaps|cannot\s+(?:be\s+)?(?:determine|tell|say|exclude|rule)\w*"
    r"|can(?:'|no)t\s+(?:be\s+)?(?:determine|tell|say)\w*|possibl[ey]|might|may\s+be|unable|difficult\s+to)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:no|not|without|absent|absence|neither|nor|never|isn't|aren't|doesn't|don't|cannot|negative\s+for|free\s+of)\b",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"\b(?:there\s+(?:is|are|appears?\s+to\s+be)|(?:is|are)\s+(?:\w+ly\s+)?(?:present|seen|visible|evident|noted|identified)|shows?|demonstrates?|reveals?)\b",
    re.IGNORECASE,
)
_STOP = frozenset(
    {
        "is", "are", "was", "were", "be", "been", "do", "does", "did", "there", "any", "this", "that", "these", "those",
        "of", "in", "on", "at", "to", "for", "with", "and", "or", "it", "its", "has", "have", "had", "image", "picture",
        "scan", "film", "patient", "you", "see", "seen", "evidence", "present", "show", "shows", "shown", "what",
        "which", "where", "how", "can", "could", "would", "will", "by", "from", "as", "not", "no", "some", "more",
        "most", "than",
    }
)  # fmt: skip


@lru_cache(maxsize=16384)
def normalise(text: str) -> str:
    """A short answer's normal form: NFKC, lower case, no punctuation or articles, digits for number words.

    >>> normalise("The X-Ray, two views.")
    'xray 2 views'
    """
    plain = _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    plain = _X_RAY.sub("xray", " ".join(plain.split()))
    return " ".join(_NUMBERS.get(word, word) for word in plain.split() if word not in _ARTICLES)


def tokens(text: str) -> list[str]:
    """The words of a text's normal form."""
    return normalise(text).split()


def contains(text: str, part: str) -> bool:
    """Whether the words of ``part`` stand in ``text`` in a row (whole words of the normal forms)."""
    return bool(tokens(part)) and f" {normalise(part)} " in f" {normalise(text)} "


def is_yes_no(choices: Sequence[str]) -> bool:
    """Whether the choices (or the single answer in a list) are yes and no."""
    return bool(choices) and all(normalise(choice) in YES_NO for choice in choices)


def decision(reply: str, question: str = "") -> str | None:
    """``yes`` or ``no`` as the reply first decides, or None where it does not decide.

    A leading yes or no decides; then "the answer is ..."; then the first sentence that states or denies something.
    With the question, a sentence that takes up its words also states or denies it ("The trachea is midline.").

    >>> decision("There is no pneumothorax."), decision("Normal chest."), decision("Not sure")
    ('no', None, None)
    """
    if _UNDECIDED.match(reply.strip()):
        return None
    said = _LEAD.search(reply) or _ANSWER_IS.search(reply)
    if said:
        return "yes" if said.group(1).lower() in _AFFIRMS else "no"
    asked = set(tokens(question)) - _STOP
    for start, end in sentences(reply):
        sentence = reply[start:end]
        if _UNDECIDED.search(sentence):
            return None
        if _DENIES.search(sentence) and not re.search(r"\bno\s+(?:interval\s+)?change\b", sentence, re.IGNORECASE):
            return "no"
        if _STATES.search(sentence) or asked & set(tokens(sentence)):
            return "yes"
    return None


def parse_closed(reply: str, choices: Sequence[str] = (), question: str = "") -> str | None:
    """The choice a reply decides for, in the choices' own spelling; None where it does not decide.

    Without choices the choices are ``yes`` and ``no``. A choice counts where it stands as whole words, is not part of
    a longer choice, and is not negated ("not left but right" is right). Where several stand, the first sentence with
    exactly one decides, unless a choice means both.
    """
    if not choices or is_yes_no(choices):
        said = decision(reply, question)
        spelled = {normalise(choice): choice for choice in choices} or {"yes": "yes", "no": "no"}
        return spelled.get(said) if said else None
    for choice in choices:
        if normalise(reply) == normalise(choice):
            return choice
    whole = _affirmed(reply, choices)
    if len(whole) == 1:
        return whole[0]
    both = [choice for choice in choices if normalise(choice) in ("both", "bilateral", "both sides")]
    if both and len(whole) > 1:
        return both[0]
    for start, end in sentences(reply):
        here = _affirmed(reply[start:end], choices)
        if here:
            return here[0] if len(here) == 1 else None
    return None


def _affirmed(text: str, choices: Sequence[str]) -> list[str]:
    plain = f" {normalise(text)} "
    standing = [choice for choice in choices if normalise(choice) and f" {normalise(choice)} " in plain]
    standing = [one for one in standing if not any(_inside(one, other, plain) for other in standing if other != one)]
    read = mentions(text)
    named = {(m.concept.type, m.concept.name): m.polarity for m in read}
    affirmed = []
    for choice in choices:
        keys = [(m.concept.type, m.concept.name) for m in mentions(choice)]
        whole = bool(keys) and set(tokens(choice)) <= {
            word for m in mentions(choice) for word in tokens(choice[m.start : m.end])
        }
        synonym = whole and not standing and all(key in named for key in keys)
        denied = any(named.get(key) == "absent" for key in keys)
        if (choice in standing or synonym) and not denied and not _negated(plain, normalise(choice)):
            affirmed.append(choice)
    return affirmed


def _inside(short: str, long: str, plain: str) -> bool:
    """Whether every place of ``short`` lies within a place of the longer choice."""
    inner, outer = f" {normalise(short)} ", f" {normalise(long)} "
    return inner in outer and plain.replace(outer, " ").count(inner) == 0


def _negated(plain: str, choice: str) -> bool:
    return re.search(rf"\b(?:not|no|without|isnt|rather than)\s+(?:\w+\s+)?{re.escape(choice)}\b", plain) is not None
