"""Facts as a rationale, and one fact flipped: pure functions of facts and strings.

A rationale goes from the place to the sign, its degree, the inference and the answer (CheXPO, arXiv:2507.06959, as far
as its abstract tells). It says what the facts say and nothing else. Does not know: the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from medpref.curation.difference import difference, sign_of, turned
from medpref.curation.draft import Rng
from medpref.curation.pool import concept_of
from medpref.language.answers import normalise, parse_closed
from medpref.language.decision import presence_asked
from medpref.language.findings import mentions
from medpref.language.lexicon import lexicon
from medpref.language.wording import article, looks_plural, plural
from medpref.schema import Example, Fact

Order = Literal["first", "last"]
Known = Mapping[str, tuple[Fact, ...]]
EITHER = "either"
ABOUT_FACTS = frozenset(
    {"presence", "side", "zone", "severity", "count", "abnormality", "device", "finding", "other", "open"}
)
BOXED = "boxed area"
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
NOTHING = frozenset({"no", "none", "nothing", "0", "normal", "no abnormality"})
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def bearing(example: Example, known: Known) -> tuple[Fact, ...]:
    """The facts that bear on the question: those of the findings it names, else all that are present.

    Where no fact speaks of the finding whose presence is asked for, yes or no says whether it is there ("Is this film
    normal?" "No": there is an abnormality); a question about something else has no facts then.
    ``known`` are the present facts of all examples: an absent finding that has a side in them is absent on either.
    Of a comparison, the two images' facts of the finding; of a boxed area, what the answer says is in it.
    """
    if example.kind == "compare":
        return _compared(example, known)
    if example.kind == "region":
        return _boxed(example)
    if example.kind not in ABOUT_FACTS:
        return ()
    named = [concept_of(m.concept.name) for m in mentions(example.question, ("finding", "device"))]
    named = [name for name in named if name != "abnormality"]
    about = tuple(fact for fact in example.facts if concept_of(fact.finding) in named)
    answer = normalise(example.answer)
    if about:
        return tuple(fact if fact.present else _absent(concept_of(fact.finding), known) for fact in about)
    asked = presence_asked(example.question)
    if answer in ("yes", "no"):
        if asked is None:
            return ()
        present = (answer == "yes") == asked.yes_is_present
        absent = _absent(concept_of(asked.finding), known).model_copy(update={"finding": asked.finding})
        return (Fact(finding=asked.finding) if present else absent,)
    if answer in NOTHING:
        general = "support device" if example.kind == "device" else "abnormality"
        return (_absent(named[0] if named else general, known),)
    if named:
        return ()
    return tuple(fact for fact in example.facts if fact.present and _is_device(fact) == (example.kind == "device"))


def _compared(example: Example, known: Known) -> tuple[Fact, ...]:
    """The fact of either image about the one finding that is asked about, where both bear the answer out."""
    named = _named(example.question)
    held = [
        [fact for fact in example.facts if fact.image == index and [concept_of(fact.finding)] == named]
        for index in range(2)
    ]
    if len(example.images) != 2 or [len(facts) for facts in held] != [1, 1]:
        return ()
    (first,), (second,) = held
    if difference(first, second) is None or difference(first, second) != sign_of(example.answer):
        return ()
    absent = _absent(named[0], known)
    return tuple(fact if fact.present else absent.model_copy(update={"image": fact.image}) for fact in (first, second))


def _boxed(example: Example) -> tuple[Fact, ...]:
    """What is in the box or, asked about a finding, that it is not; its place is the box."""
    named, answer = _named(example.question), normalise(example.answer)
    if answer in NOTHING:
        return (Fact(finding=named[0] if named else "abnormality", present=False, zone=BOXED),)
    said = named if answer == "yes" else _named(example.answer)
    if len(said) != 1:
        return ()
    held = [fact for fact in example.facts if fact.present and concept_of(fact.finding) == said[0]]
    return (_in_box(held[0] if held else Fact(finding=said[0])),)


def _in_box(fact: Fact) -> Fact:
    """The fact said of a box: neither side nor number, and of a device not which one, as its label does not either."""
    sign = None if _is_device(fact) else fact.sign
    return fact.model_copy(update={"zone": BOXED, "side": None, "count": None, "image": None, "sign": sign})


def _named(text: str) -> list[str]:
    """The findings and devices that a text names, each once."""
    names = [concept_of(m.concept.name) for m in mentions(text, ("finding", "device"))]
    return [name for name in dict.fromkeys(names) if name != "abnormality"]


def render(facts: Sequence[Fact], answer: str, order: Order = "first") -> str:
    """The answer and one sentence a fact.

    >>> render([Fact(finding="nodule", side="left", zone="upper", count=1)], "Left")
    'Left. In the left upper zone there is a nodule.'
    """
    said = " ".join(_sentence(fact) for fact in facts)
    plain = answer.strip().rstrip(".")
    return f"{plain}. {said}" if order == "first" else f"{said} The answer is {plain[:1].lower() + plain[1:]}."


def _sentence(fact: Fact) -> str:
    place = _place(fact)
    what = _what(fact)
    several = (fact.present and (fact.count or 1) > 1) or (not fact.sign and looks_plural(fact.finding))
    are = "are" if several else "is"
    sign = fact.sign if fact.sign and not _is_device(fact) else ""
    seen = f"{sign}, consistent with {what}" if sign and fact.present else what
    return f"{place} there {are} {seen}." if place else f"There {are} {seen}."


def _place(fact: Fact) -> str:
    where = _where(fact)
    if fact.image is None:
        return where
    image = f"In the {ORDINALS[fact.image]} image"
    return f"{image}, {where[:1].lower()}{where[1:]}" if where else image


def _where(fact: Fact) -> str:
    if fact.zone == BOXED:
        return f"In the {BOXED}"
    if fact.side == EITHER:
        return "In any zone on either side" if fact.zone else "On either side"
    if fact.side == "both":
        return f"In both {fact.zone} zones" if fact.zone else "On both sides"
    if fact.zone:
        zone = fact.zone if "zone" in fact.zone or "lobe" in fact.zone else f"{fact.zone} zone"
        return f"In the {fact.side} {zone}" if fact.side else f"In the {zone}"
    return f"On the {fact.side}" if fact.side else ""


def _what(fact: Fact) -> str:
    name = str(fact.sign) if _is_device(fact) and fact.sign else fact.finding
    if not fact.present:
        return f"no {name}"
    if fact.count is not None and fact.count > 1:
        number = NUMBERS[fact.count] if fact.count < len(NUMBERS) else str(fact.count)
        return f"{number} {plural(name)}"
    said = " ".join(part for part in (fact.severity, name) if part)
    read = mentions(name, ("finding", "device"))
    counted = bool(read) and read[0].concept.count and not (read[0].match.plural or looks_plural(name))
    return f"{article(said)} {said}" if counted else said


def _is_device(fact: Fact) -> bool:
    return any(m.concept.type == "device" for m in mentions(fact.finding))


def indefinite(finding: str) -> str:
    """A finding with its article, if it takes one.

    >>> indefinite("nodule"), indefinite("cardiomegaly")
    ('a nodule', 'cardiomegaly')
    """
    return _what(Fact(finding=finding))


def flip(facts: Sequence[Fact], example: Example, answer: str, *, known: Known, rng: Rng) -> tuple[Fact, ...] | None:
    """The facts with exactly one of them changed so that they support a wrong answer; None where one is not enough.

    A finding that is made present is so as in some other example, drawn from ``known``.
    """
    first = facts[0]
    concept = concept_of(first.finding)
    if example.kind == "compare":
        wanted, absent = sign_of(answer), _absent(concept, known)
        two = (first, facts[1])
        return None if wanted is None else turned(two, wanted, known=known.get(concept, ()), absent=absent, rng=rng)
    if first.zone == BOXED and normalise(answer) in NOTHING and normalise(example.answer) != "yes":
        return (Fact(finding="abnormality", present=False, zone=BOXED),)
    changed = _flipped(facts, example, answer, known=known, rng=rng)
    return changed if changed is None or first.zone != BOXED else tuple(_in_box(fact) for fact in changed)


def _flipped(
    facts: Sequence[Fact], example: Example, answer: str, *, known: Known, rng: Rng
) -> tuple[Fact, ...] | None:
    first = facts[0]
    concept = concept_of(first.finding)
    denied = _absent(concept, known, like=first).model_copy(update={"finding": first.finding})
    changed: Fact | None
    if parse_closed(answer) is not None and normalise(example.answer) in ("yes", "no"):
        changed = denied if first.present else _drawn(first, concept, known, rng)
    elif normalise(answer) in NOTHING:
        changed = denied if len(facts) == 1 and first.present else None
    else:
        return _altered(facts, example, answer, known=known, rng=rng)
    return None if changed is None else (changed, *facts[1:])


def _absent(finding: str, known: Known, *, like: Fact | None = None) -> Fact:
    """The finding as absent, "in any zone" where the fact it stands for (else some example's) has a zone."""
    held = (like,) if like else known.get(finding, ())
    sided, zoned = any(fact.side for fact in held), any(fact.zone for fact in held)
    return Fact(finding=finding, present=False, side=EITHER if sided else None, zone="any" if sided and zoned else None)


def _drawn(old: Fact, finding: str, known: Known, rng: Rng) -> Fact:
    """A present fact of a finding as some example has it, with a zone where the old fact has one."""
    options = known.get(finding, ())
    alike = [fact for fact in options if bool(fact.zone) == bool(old.zone)] or list(options)
    return alike[int(rng.integers(len(alike)))] if alike else Fact(finding=old.finding)


def _altered(
    facts: Sequence[Fact], example: Example, answer: str, *, known: Known, rng: Rng
) -> tuple[Fact, ...] | None:
    """The first fact with the attribute that was asked for, or the one fact whose finding the answer exchanges."""
    first = facts[0]
    said = {m.concept.type: m.concept.name for m in mentions(answer)}
    update: dict[str, object] = {}
    if not first.present and example.kind in ("side", "zone", "severity"):
        matching = [one for one in known.get(concept_of(first.finding), ()) if _supports(one, said)]
        return (matching[int(rng.integers(len(matching)))],) if matching and len(facts) == 1 else None
    if example.kind in ("side", "zone"):
        update = {key: said[key] for key in ("side", "zone") if key in said}
    elif example.kind == "severity":
        update = {"severity": said.get("severity", said.get("size"))}
    elif example.kind == "count" and first.count is not None and normalise(answer).isdigit():
        update = {"count": int(normalise(answer)), "zone": None}
    elif example.kind == "device" and "device" in said:
        update = {"present": True, "sign": said["device"], "side": None}
    if any(value is not None and getattr(first, key) != value for key, value in update.items()):
        return (first.model_copy(update=update), *facts[1:])
    return _exchanged(facts, answer, known=known, rng=rng) if example.kind not in ("count", "severity") else None


def _supports(fact: Fact, said: Mapping[str, str]) -> bool:
    """Whether a fact has every attribute that an answer says."""
    grade = said.get("severity", said.get("size"))
    return all(getattr(fact, key) == said[key] for key in ("side", "zone") if key in said) and grade in (
        None,
        fact.severity,
    )


def _exchanged(facts: Sequence[Fact], answer: str, *, known: Known, rng: Rng) -> tuple[Fact, ...] | None:
    said = [m.concept.name for m in mentions(answer, ("finding",)) if m.polarity == "present"]
    held = [concept_of(fact.finding) for fact in facts if fact.present]
    lost, new = [name for name in held if name not in said], [name for name in said if name not in held]
    if len(new) != 1 or len(lost) > 1:
        return None
    if not lost:
        return (_drawn(facts[0], new[0], known, rng),) if len(facts) == 1 and not facts[0].present else None
    place = held.index(lost[0])
    name = lexicon().get("finding", new[0]).forms[0]
    plausible = [one for one in known.get(new[0], ()) if one.side == facts[place].side and one.count in (None, 1)]
    plain = facts[place].model_copy(update={"finding": name, "sign": None})
    changed = plausible[int(rng.integers(len(plausible)))] if plausible else plain
    return (*facts[:place], changed, *facts[place + 1 :])


def error_of(before: Sequence[Fact], after: Sequence[Fact]) -> str:
    """The type of the one change between two lists of facts: presence, finding, side, zone, severity, count, device."""
    for old, new in zip(before, after, strict=True):
        if old.present != new.present:
            return "presence"
        keys = ("finding", "side", "zone", "severity", "count", "sign")
        changed = [key for key in keys if getattr(old, key) != getattr(new, key)]
        if changed:
            return "device" if changed[0] == "sign" else changed[0]
    return "none"
