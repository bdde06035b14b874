"""What to look for in an image: the concept that a question and its right answer speak of, in words for a detector.

Knows: the lexicon's findings, devices and organs, and who denies what. Does not know: the image, or any detector.
"""

from __future__ import annotations

import re

from medpref.language.decision import decision, presence_asked
from medpref.language.findings import Mention, mentions, statements
from medpref.language.normal import normalise
from medpref.schema import Example

VAGUE = frozenset({"abnormality", "foreign body", "support device"})
TECHNIQUE = ("modality", "plane", "sequence", "contrast")
NONE = ("none", "nothing", "normal")
WORDS = 6  # of an answer outside the lexicon; longer ones are sentences
_SUBJECT = re.compile(r"^\W*(?:is|are|was|were)\s+(?:the|this|that|these|those|his|her)\s", re.IGNORECASE)


def concept_phrase(example: Example) -> str | None:
    """The finding or device that the answer affirms or the question is of, else an abnormality's name, else an organ.

    None where the answer denies what is asked for ("Is there an effusion?" "No"), speaks of how the image was made
    ("PA"), or names nothing of the sort.

    >>> fields = dict(id="e", patient="p", images=[{"path": "a", "sha256": "a" * 64}], split="train")
    >>> concept_phrase(Example(question="Is there a left effusion?", answer="Yes", **fields))
    'left effusion'
    """
    said, asked = (_things(text) for text in (example.answer, example.question))
    affirmed = [one for one in said if one.polarity == "present"]
    if affirmed:
        return _phrase(example.answer, affirmed[0])
    if said or _denied(example, asked) or mentions(example.answer, TECHNIQUE):
        return None
    if asked:
        return _phrase(example.question, asked[0])
    if named := _unlisted(example):
        return named
    placed = ((text, mentions(text, ("organ",))) for text in (example.answer, example.question))
    return next((_phrase(text, organs[0]) for text, organs in placed if organs), None)


def _things(text: str) -> list[Mention]:
    return [one for one in mentions(text, ("finding", "device")) if one.concept.name not in VAGUE]


def _denied(example: Example, asked: list[Mention]) -> bool:
    """Whether the answer says that what is asked for is not there."""
    answer = normalise(example.answer)
    if answer in NONE:
        return True
    if answer not in ("yes", "no"):
        return False
    wanted = presence_asked(example.question)
    if wanted is not None:
        return (answer == "yes") != wanted.yes_is_present
    return answer == "no" and bool(asked) and _bearer(example.question, asked[0]) is not None


def _bearer(text: str, one: Mention) -> Mention | None:
    """The organ of which a question asks the finding ("Is the heart dilated?"); None where it stands by itself."""
    if one.concept.type == "organ" or not _SUBJECT.match(text) or text[one.end :].strip(" ?.!"):
        return None
    organs = [organ for organ in mentions(text, ("organ",)) if not text[organ.end : one.start].strip()]
    return organs[-1] if organs else None


def _unlisted(example: Example) -> str | None:
    """The name that answers a question for an abnormality, where the lexicon does not know it."""
    name = re.split(r"[,;(.]", example.answer.lower())[0].strip()
    decided = normalise(example.answer) in ("yes", "no") or decision(example.answer) is not None
    if example.kind != "abnormality" or decided or not 0 < len(name.split()) <= WORDS:
        return None
    return name


def _phrase(text: str, one: Mention) -> str:
    """The words of a concept, with the side and zone that are said of it before them, and after them what bears it."""
    words = one.concept.forms[0] if one.match.gap != (0, 0) or one.match.form.denies else text[one.start : one.end]
    held = next((told.attributes for told in statements(text) if told.finding == one.concept.name), {})
    placed = [held[key] for key in ("side", "zone") if held.get(key) not in (None, "both", "neither")]
    if one.concept.type == "organ":
        placed = [side.concept.name for side in mentions(text, ("side",)) if side.concept.name in ("left", "right")][:1]
    bearer = _bearer(text, one)
    return " ".join([*placed, words, *([text[bearer.start : bearer.end]] if bearer else [])]).lower()
