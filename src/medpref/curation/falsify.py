"""A wrong text in place of a right one, close in meaning and alike in style: by choices, by the lexicon, by donors.

Knows: which kinds of edits fit a question. Does not know: the image; whether a text is wrong is checked by a judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from medpref.curation.draft import Context, Rng
from medpref.curation.pool import donor_key
from medpref.judging.agreement import Agreement
from medpref.judging.exact import closed_choices
from medpref.judging.findings import compare
from medpref.judging.relevance import asked
from medpref.language.answers import contains, is_yes_no, normalise, parse_closed, tokens
from medpref.language.edits import PREFERRED, Edit, edits, preferred
from medpref.language.findings import Mention, mentions, polarities, sentences
from medpref.language.lexicon import lexicon
from medpref.language.presence import flip_decision
from medpref.language.rewrite import replace
from medpref.language.wording import recase, styled, with_article
from medpref.schema import Example

LENGTH_SHARE, LENGTH_WORDS = 0.34, 2
REPORT_EDITS, REPORT_DRAWS = 2, 6
UNDECIDED = frozenset({"not sure", "maybe", "unknown", "unclear", "possibly"})
RARE = 0.5
CATCH_ALL = frozenset({"other", "open"})
NOTHING = frozenset({"none", "nothing", "no abnormality", "normal"})


class Wrong(NamedTuple):
    """A wrong text, the type of its error, and how it was made."""

    text: str
    error: str
    author: str


def falsify(
    example: Example, text: str, context: Context, *, purpose: str, whole_sentences: bool = False
) -> Wrong | None:
    """A wrong variant of a right text, or None where the rules find none that passes the checks.

    Candidates come in groups (other choices; edits of the type that fits the question; further edits; donors). The
    first group with a passing candidate decides, those in the words of the data's answers before all others; within
    a group chance decides, by how frequent a text is among right answers, so that no text gives itself away.
    ``whole_sentences``: a report may take a sentence of another report; otherwise single words change.
    """
    if normalise(example.answer) in UNDECIDED:
        return None
    rng = context.rng(purpose, example)
    groups = [
        [wrong for wrong in group if is_wrong(example, wrong.text, like=text) and _decides(example, wrong.text)]
        for group in _groups(example, text, context, rng, whole_sentences=whole_sentences)
    ]
    known = [[wrong for wrong in group if set(tokens(wrong.text)) <= context.vocabulary] for group in groups[:-1]]
    for passing in (*known, *groups):
        if passing:
            return _drawn(example, passing, context, rng)
    return None


def _drawn(example: Example, passing: Sequence[Wrong], context: Context, rng: Rng) -> Wrong:
    """One of the candidates, each as likely as it is frequent among the right answers to questions of its kind."""
    counts = context.frequency.get(donor_key(example), {})
    shares = np.array([counts.get(normalise(wrong.text), 0) + RARE for wrong in passing])
    return passing[int(rng.choice(len(passing), p=shares / shares.sum()))]


def error_of(example: Example, wrong: str, right: str = "") -> str:
    """The type of a wrong reply's error.

    Presence where it says nothing for something or the reverse; to an open question the type of the concepts in which
    it differs from ``right`` (else the reference), if that is one; else as asked.
    """
    absent = [normalise(text) in NOTHING for text in (example.answer, wrong)]
    if absent[0] != absent[1]:
        return "presence"
    if closed_choices(example) is not None:
        return asked(example)
    ours, theirs = ({_said(one) for one in mentions(text)} for text in (right or example.answer, wrong))
    kinds = {one[0] for one in ours ^ theirs}
    turned = {one[:2] for one in ours - theirs} & {one[:2] for one in theirs - ours}
    if not kinds:
        return asked(example)
    weigh = lexicon().consequence
    return "presence" if turned and len(kinds) == 1 else max(sorted(kinds), key=lambda kind: weigh[kind])


def _said(mention: Mention) -> tuple[str, str, str]:
    return mention.concept.type, mention.concept.name, mention.polarity


def is_wrong(example: Example, text: str, *, like: str) -> bool:
    """Whether a text differs from the reference in meaning, does not contain it, and is as long as ``like``."""
    if not text.strip() or normalise(text) == normalise(example.answer) or not alike_in_length(text, like):
        return False
    closed = closed_choices(example) is not None
    if not closed and contains(text, example.answer):
        return False
    return Agreement().judge(example, text).value == 0.0


def _decides(example: Example, text: str) -> bool:
    """Whether a wrong text answers the question: one that asks to choose, with a choice."""
    choices = closed_choices(example)
    return choices is None or parse_closed(text, choices, example.question) is not None


def alike_in_length(text: str, like: str) -> bool:
    """Whether two texts differ by at most 2 words or a third of the words of ``like``."""
    ours, theirs = len(text.split()), len(like.split())
    return abs(ours - theirs) <= max(LENGTH_WORDS, LENGTH_SHARE * theirs)


def _groups(example: Example, text: str, context: Context, rng: Rng, *, whole_sentences: bool) -> Iterator[list[Wrong]]:
    choices = closed_choices(example)
    if choices is not None:
        yield list(_other_choices(example, text, choices))
    if example.answer_type == "report":
        if whole_sentences:
            yield list(_lent_sentences(text, context, rng))
        yield [_report(text, rng) for _ in range(REPORT_DRAWS)]
    lent = [] if example.answer_type == "report" else list(_donors(example, text, context))
    by_type: dict[str, list[Wrong]] = {}
    subject = {mention.concept.name for mention in mentions(example.question)}
    found = preferred(text, example.kind) if normalise(text) not in NOTHING else ()
    for edit in sorted(found, key=lambda edit: edit.concept in subject):
        by_type.setdefault(edit.type, []).append(Wrong(edit.text, edit.type, "rules"))
    nothing = [Wrong(donor, "presence", "donor") for donor in lent if normalise(donor) in NOTHING]
    for place, group in enumerate(by_type.values()):
        yield group if place else [*group, *nothing]
    yield [Wrong(donor, example.kind, "donor") for donor in lent]


def _other_choices(example: Example, text: str, choices: Sequence[str]) -> Iterator[Wrong]:
    if not choices or is_yes_no(choices):
        turned = flip_decision(text, example.question)
        if turned:
            yield Wrong(replace(text, turned), "presence", "rules")
        return
    said = parse_closed(text, choices, example.question)
    for choice in choices:
        if said is not None and choice != said:
            put = put_choice(text, said, choice)
            if put:
                yield Wrong(put, example.kind, "choice")


def put_choice(text: str, said: str, choice: str) -> str | None:
    """The text with the choice ``choice`` where ``said`` stands, in the same letter case; None where it does not."""
    hit = re.search(rf"(?<!\w){re.escape(said.strip())}(?!\w)", text, re.IGNORECASE)
    if hit is None:
        return styled(choice, like=text) if len(text.split()) <= len(said.split()) + 1 else None
    cased = recase(choice.strip(), old=hit.group(), text=text, canonical=said)
    start, after = with_article(text, hit.start(), cased)
    return text[:start] + after + text[hit.end() :]


def _report(text: str, rng: Rng) -> Wrong:
    """Up to two edits in different sentences of a report: a type is drawn, then an edit of that type."""
    made: list[Edit] = []
    for _ in range(REPORT_EDITS):
        by_type: dict[str, list[Edit]] = {}
        for edit in preferred(text, "report"):
            if edit.type in PREFERRED["report"] and _fresh(edit, made):
                by_type.setdefault(edit.type, []).append(edit)
        if not by_type:
            break
        options = list(by_type.values())[int(rng.integers(len(by_type)))]
        edit = options[int(rng.integers(len(options)))]
        text, made = edit.text, [*made, edit]
    return Wrong(text, "+".join(sorted({edit.type for edit in made})) or "none", "rules")


def _lent_sentences(text: str, context: Context, rng: Rng) -> Iterator[Wrong]:
    """The report with one sentence of another report in place of one on the same findings that says otherwise."""
    for start, end in sentences(text):
        held = text[start:end].strip()
        pool = [one for name in polarities(held) for one in context.sentences.get(name, ())]
        for index in rng.permutation(len(pool))[:REPORT_DRAWS]:
            found = compare(held, pool[index])
            if found.contradicted or found.altered:
                error = "presence" if found.contradicted else found.altered[0].split(": ")[1].split()[0]
                yield Wrong(
                    text[:start] + text[start:end].replace(held, pool[index]) + text[end:], error, "lent sentence"
                )


def _fresh(edit: Edit, made: Iterable[Edit]) -> bool:
    """A second edit touches another concept, and another sentence, than the first."""
    return all(edit.concept != other.concept and edit.place != other.place for other in made)


def _donors(example: Example, text: str, context: Context) -> Iterator[str]:
    """Other examples' answers in the place of the reference, or instead of a text that is no sentence.

    Under a question kind that means nothing ("other") only answers of the reference's lexicon types fit.
    """
    ours, kinds = set(tokens(example.answer)), _types(example.answer)
    held = re.search(rf"(?<!\w){re.escape(example.answer.strip())}(?!\w)", text, re.IGNORECASE)
    if held is None and len(text.split()) > len(example.answer.split()) + LENGTH_WORDS:
        return
    for answer in context.donors.get(donor_key(example), ()):
        fits = example.kind not in CATCH_ALL or (bool(kinds) and _types(answer) == kinds)
        if fits and not ours & set(tokens(answer)) and not is_yes_no([answer]):
            lent = styled(answer, like=held.group() if held else text)
            yield text[: held.start()] + lent + text[held.end() :] if held else lent


def _types(text: str) -> frozenset[str]:
    return frozenset(mention.concept.type for mention in mentions(text))


def targeted(text: str, error: str, rng: Rng) -> Wrong | None:
    """A text with exactly one error of a given type (a type of ``language.edits``), or None."""
    options = edits(text, (error,))
    if not options:
        return None
    edit = options[int(rng.integers(len(options)))]
    return Wrong(edit.text, error, "targeted")
