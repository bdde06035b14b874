"""What takes the "not" or "no" out of a statement, or puts one in: grammar alone, whatever the words mean.

Knows: forms of be and do, some verbs of reports, "there is". Does not know: nouns; an article that goes with "no" comes
back only where the question has it.
"""

from __future__ import annotations

import re

from medpref.language.rewrite import Replacement, like

_NO = re.compile(r"\bno\s+(?!(?:longer|interval|change|significant\s+change)\b)", re.IGNORECASE)
_NOT = re.compile(
    r"\b(is|are|was|were|does|do|has|have|can|could|did|will|would|should)((?:\s+\w+ly)?)\s*(?:\s+not\b|n['’]?t\b)\s*",
    re.IGNORECASE,
)
_CANNOT = re.compile(r"\bcannot\b", re.IGNORECASE)
_ANY = re.compile(r"\bany\s+", re.IGNORECASE)
_THING = re.compile(r"\b(?:any|some)thing\b", re.IGNORECASE)
_NOTHING = re.compile(r"\bnothing\b", re.IGNORECASE)
_THERE = re.compile(r"\bthere\s+(?:is|are|was|were)\s+(?:(?:an?|another|some|any)\s+)?(?!not?\b)", re.IGNORECASE)
_BE = re.compile(r"\b(?:is|are|was|were|can|could|will|would|should|must|does|do|did)\b", re.IGNORECASE)
_PERFECT = re.compile(r"\b(?:has|have)(?=\s+(?:been|\w+ed)\b)", re.IGNORECASE)
_BASES = (
    "appear", "seem", "show", "demonstrate", "indicate", "display", "feature", "contain", "reveal", "suggest",
    "exhibit", "enhance", "involve", "extend", "receive", "sustain", "affect", "represent", "cause", "need",
)  # fmt: skip
_BOUND = re.compile(
    r"\b(?:neither|nor|rather\s+than|instead\s+of|as\s+opposed\s+to|without|because|since|due\s+to|as\s+(?:the|it|there|this))\b"
    r"|,\s+which\b|,\s+not\b|\band\s+(?:is|are|was|were)\b",
    re.IGNORECASE,
)


def third(verb: str) -> str:
    """A verb in the third person: "show" is "shows", "have" is "has"."""
    if verb == "have":
        return "has"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "ch", "sh", "o")) else "s")


def _past(verb: str) -> str:
    return {"show": "showed"}.get(verb, verb + ("d" if verb.endswith("e") else "ed"))


_VERBS = {third(verb): ("does not", verb) for verb in (*_BASES, "have")}
_VERBS |= {_past(verb): ("did not", verb) for verb in _BASES}
_VERBS |= {verb: ("do not", verb) for verb in (*_BASES, "have")}
_VERB = re.compile(rf"\b({'|'.join(sorted(_VERBS, key=len, reverse=True))})\b", re.IGNORECASE)


def is_bound(text: str) -> bool:
    """Whether a statement sets one thing against another or gives a reason ("A rather than B", "A because of B").

    No "not" turns such a statement into its opposite.
    """
    return _BOUND.search(text) is not None


def without_not(text: str, start: int = 0) -> tuple[Replacement, ...]:
    """What takes out the first "not" from ``start`` on, "does not show any" becoming "shows"; empty without one."""
    hit = _NOT.search(text, start)
    if hit is None:
        barred = _CANNOT.search(text, start)
        return (Replacement(barred.start(), barred.end(), "can"),) if barred else ()
    aid = hit.group(1)
    verb = re.compile(r"((?:\w*ly\s+)*)([a-z]+)").match(text, hit.end())
    if aid.lower() in ("does", "do") and verb:
        said = third(verb.group(2)) if aid.lower() == "does" else verb.group(2)
        adverb = f"{hit.group(2).strip()} " if hit.group(2) else ""
        moved = Replacement(hit.start(), verb.end(), adverb + verb.group(1) + said)
    else:
        moved = Replacement(hit.start(), hit.end(), f"{aid}{hit.group(2)} ")
    loose, thing = _ANY.search(text, moved.end), _THING.search(text, moved.end)
    if thing:
        return (moved, Replacement(thing.start(), thing.end(), "something"))
    return (moved, Replacement(loose.start(), loose.end(), "")) if loose else (moved,)


def without_no(text: str, question: str = "") -> tuple[Replacement, ...]:
    """What takes out the first "no"; its noun gets the article that the question gives it. Empty without one.

    "Nothing" becomes "something".
    """
    nothing, hit = _NOTHING.search(text), _NO.search(text)
    if nothing and (hit is None or nothing.start() < hit.start()):
        return (Replacement(nothing.start(), nothing.end(), like("something", text, nothing.start())),)
    if hit is None:
        return ()
    noun = re.compile(r"[\w-]+").match(text, hit.end())
    asked = re.search(rf"\b(an?)\s+{re.escape(noun.group())}\b", question, re.IGNORECASE) if noun else None
    moved = Replacement(hit.start(), hit.end(), f"{asked.group(1).lower()} " if asked else "")
    loose = _ANY.search(text, hit.end())
    return (moved, Replacement(loose.start(), loose.end(), "")) if loose else (moved,)


def with_not(text: str) -> tuple[Replacement, ...]:
    """What puts a "not" (or a "no" after "there is") into a statement; empty where no verb is known."""
    there, thing = _THERE.search(text), _THING.search(text)
    if there and thing and thing.start() == there.end():
        return (Replacement(thing.start(), thing.end(), "nothing"),)
    if there:
        words = " ".join(text[there.start() : there.end()].split()[:2])
        none = "no other" if there.group().lower().split()[-1] == "another" else "no"
        return (Replacement(there.start(), there.end(), f"{words} {none} "),)
    be, verb = _PERFECT.search(text) or _BE.search(text), _VERB.search(text)
    if verb and (be is None or verb.start() < be.start()):
        aid, base = _VERBS[verb.group().lower()]
        return (Replacement(verb.start(), verb.end(), f"{aid} {base}"),)
    return (Replacement(be.end(), be.end(), " not"),) if be else ()
