"""Small clinical edits of a text: each changes one thing (its type) and names the characters it changes.

Knows: the lexicon's confusable partners and presence flips. Does not know: which statement is true; the caller decides
whether an edit makes a reply right or wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medpref.language.findings import ASSERTED, Mention, mentions, owner, sentences
from medpref.language.lexicon import Concept, lexicon
from medpref.language.presence import Replacement, flip_lead, flip_presence, replace
from medpref.language.wording import looks_plural, plural, recase, with_article

TYPES = (
    "presence", "side", "finding", "organ", "zone", "severity", "size", "count", "normality", "device", "change",
    "nature", "density", "modality", "sequence", "contrast", "plane",
)  # fmt: skip
PREFERRED: Mapping[str, tuple[str, ...]] = {
    "presence": ("presence", "normality", "finding", "device"),
    "side": ("side",),
    "zone": ("zone", "side", "organ"),
    "severity": ("severity", "size"),
    "count": ("count",),
    "abnormality": ("finding", "normality", "side", "organ", "nature", "presence"),
    "view": ("plane",),
    "plane": ("plane",),
    "device": ("device", "presence"),
    "modality": ("modality", "sequence", "contrast"),
    "organ": ("side", "organ", "zone"),
    "report": ("presence", "side", "severity", "size", "zone", "normality", "finding", "device"),
    "region": ("finding", "presence", "normality", "side", "zone"),
    "compare": ("change", "presence", "severity", "size", "side"),
}
_VERB = re.compile(r"\b(is|are|was|were|does|do|has|have)(\s+not)?\b", re.IGNORECASE)


@dataclass(frozen=True)
class Edit:
    """One clinical change: its type, what changes in the old text, the new text, how close the error is (0 to 1), and in
    which sentence it stands (from 0)."""

    type: str
    changes: tuple[Replacement, ...]
    text: str
    closeness: float
    concept: str = ""
    place: int = 0

    @property
    def span(self) -> tuple[int, int]:
        """The half-open characters of the old text from the first change to the last."""
        return min(change.start for change in self.changes), max(change.end for change in self.changes)


def edits(text: str, types: Iterable[str] = TYPES) -> tuple[Edit, ...]:
    """Every single edit of the given types, in order of the types, then of the text, the closest partner first.

    >>> [e.text for e in edits("Small left effusion.", ("side", "size"))]
    ['Small right effusion.', 'Large left effusion.']
    """
    found = []
    for kind in types:
        found += _presence(text) if kind == "presence" else _swaps(text, kind)
    seen = {text}
    return tuple(edit for edit in found if not (edit.text in seen or seen.add(edit.text)))


def preferred(text: str, kind: str) -> tuple[Edit, ...]:
    """Every edit of a text, those that fit the question kind first."""
    first = PREFERRED.get(kind, TYPES)
    return edits(text, (*first, *(other for other in TYPES if other not in first)))


def _swaps(text: str, kind: str) -> list[Edit]:
    read = mentions(text)
    named = {mention.concept.name for mention in read}
    found = []
    for mention in read:
        if mention.concept.type != kind or mention.match.form.denies or _inert(mention):
            continue
        for rank, partner in enumerate(_partners(text, mention)):
            if (partner.name not in named or kind == "side") and _takes_same_article(text, mention, partner):
                found.append(_edit(kind, text, put(text, mention, partner), 1.0 / (1 + rank), mention.concept.name))
    return found


def _inert(mention: Mention) -> bool:
    """Exchanging a denied finding, or the words of a ``~`` form, would not make a plain error."""
    return mention.match.gap != (0, 0) or (mention.concept.type in ASSERTED and mention.polarity == "absent")


def _partners(text: str, mention: Mention) -> tuple[Concept, ...]:
    """The confusable concepts; "moderate" is a size where the finding is graded by size (a small, a large effusion)."""
    subject = owner(mention, mentions(text, ASSERTED)) if mention.concept.name == "moderate" else None
    if subject is not None and subject.concept.degree == "small":
        return lexicon().get("size", "small"), lexicon().get("size", "large")
    return lexicon().partners(mention.concept)


def _takes_same_article(text: str, mention: Mention, partner: Concept) -> bool:
    """Not "a small atelectasis" for "a small effusion": after an article, counted words replace counted ones."""
    phrase = re.search(r"\b(?:a|an)\s+(?:[\w-]+\s+){0,3}$", text[: mention.start], re.IGNORECASE)
    return phrase is None or mention.concept.count == partner.count or mention.concept.type != "finding"


def _edit(kind: str, text: str, changes: tuple[Replacement, ...], closeness: float, concept: str = "") -> Edit:
    place = sum(end <= changes[0].start for _, end in sentences(text))
    return Edit(kind, changes, replace(text, changes), closeness, concept, place)


def put(text: str, mention: Mention, concept: Concept) -> tuple[Replacement, ...]:
    """What writes another concept of the same type where a mention stands: same form, case, number and article."""
    form, old = mention.match.form, text[mention.start : mention.end]
    same_place = mention.concept.type in lexicon().parallel and form.index < len(concept.forms)
    new = concept.forms[form.index if same_place else 0]
    many = concept.type in ("finding", "organ", "device") and (mention.match.plural or looks_plural(old))
    if many and not looks_plural(mention.concept.forms[0]):
        new = plural(new, concept.plural)
    cased = recase(new, old=old, text=text, canonical=form.text)
    start, after = with_article(text, mention.start, cased)
    return (Replacement(start, mention.end, after), *_singular_after(text, mention, concept))


def _singular_after(text: str, mention: Mention, concept: Concept) -> tuple[Replacement, ...]:
    """ "Bilateral lungs" becomes "Left lung"."""
    if mention.concept.name != "both" or concept.name not in ("left", "right"):
        return ()
    noun = re.match(r"\s+([A-Za-z]+[^s\W])s\b", text[mention.end :])
    return (Replacement(mention.end + noun.end() - 1, mention.end + noun.end(), ""),) if noun else ()


def _presence(text: str) -> list[Edit]:
    if flip_lead(text):
        return [_edit("presence", text, flip_decision(text), 1.0)]
    found = []
    for mention in mentions(text, ASSERTED):
        changes = flip_presence(text, mention)
        if changes:
            found.append(_edit("presence", text, changes, 1.0, mention.concept.name))
    return found


def flip_decision(text: str) -> tuple[Replacement, ...]:
    """What turns a reply that begins with yes or no into its opposite, its first statement included.

    >>> text = "No, there is no effusion."
    >>> replace(text, flip_decision(text))
    'Yes, there is a small effusion.'
    """
    lead = flip_lead(text)
    if not lead:
        return ()
    start, end = next(iter(sentences(text)), (0, len(text)))
    if text[lead[0].end : end].strip(" .,!;") == "":
        later = [one for one in sentences(text) if one[0] >= end]
        start, end = later[0] if later else (end, end)
    start = max(start, lead[0].end)
    return (*lead, *_flip_statement(text, start, end))


def _flip_statement(text: str, start: int, end: int) -> tuple[Replacement, ...]:
    """The presence flip of the first finding within ``[start, end)``, else a normality swap, else a "not" put or taken."""
    inner = text[start:end]
    moved: tuple[Replacement, ...] | None = None
    for mention in mentions(inner, ASSERTED):
        moved = moved or flip_presence(inner, mention)
    if not moved:
        norms = [m for m in mentions(inner, ("normality",)) if m.polarity != "uncertain"]
        moved = put(inner, norms[0], lexicon().partners(norms[0].concept)[0]) if norms and norms[0].cue is None else None
    if not moved:
        verb = _VERB.search(inner)
        moved = (Replacement(verb.start(), verb.end(), verb.group(1) + ("" if verb.group(2) else " not")),) if verb else ()
    return tuple(Replacement(one.start + start, one.end + start, one.after) for one in moved)
