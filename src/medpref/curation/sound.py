"""What makes a finished pair no pair of its example, whoever wrote it: checked in every curation, before the screens.

Knows: the pair's example and the two texts. Does not know: whether a reply is right (the screen ``agrees`` does).
"""

from __future__ import annotations

from collections.abc import Sequence

from medpref.language.answers import normalise
from medpref.language.diff import Change, changes, outside, words
from medpref.schema import CHOSEN, CLEAN, REJECTED, Example, PreferencePair, Span


def fault(pair: PreferencePair, example: Example | None) -> str | None:
    """Why a pair cannot be of its example, or cannot be a preference; None where nothing is wrong."""
    if example is not None and [ref.sha256 for ref in pair.views[CLEAN]] != [ref.sha256 for ref in example.images]:
        return "its image is not its example's"
    if example is not None and pair.patient != example.patient:
        return "its patient is not its example's"
    if REJECTED not in pair.replies:
        return None
    chosen, rejected = pair.replies[CHOSEN], pair.replies[REJECTED]
    if normalise(chosen.text) == normalise(rejected.text):
        return "chosen and rejected say the same"
    if chosen.spans or rejected.spans:
        return misplaced((chosen.text, rejected.text), (chosen.spans, rejected.spans))
    return None


def misplaced(texts: tuple[str, str], spans: tuple[tuple[Span, ...], tuple[Span, ...]]) -> str | None:
    """What is wrong with the spans of chosen and rejected: they must hold every edit, and nothing that lies apart.

    A span may be wider than its edit (a phrase); one that neither holds nor adjoins an edited word is misplaced.
    """
    if outside(texts[0], spans[0]) != outside(texts[1], spans[1]):
        return "the replies differ outside their spans"
    places = [words(text) for text in texts]
    edits = changes(*([text[start:end] for start, end in held] for text, held in zip(texts, places, strict=True)))
    for side, name in enumerate((CHOSEN, REJECTED)):
        if not all(_near_an_edit(span, places[side], edits, side=side) for span in spans[side]):
            return f"a span of the {name} reply marks no edit"
    return None


def _near_an_edit(span: Span, places: Sequence[tuple[int, int]], edits: Sequence[Change], *, side: int) -> bool:
    inside = [number for number, (start, end) in enumerate(places) if start < span.end and end > span.start]
    ranges = [(one.a_start, one.a_end) if side == 0 else (one.b_start, one.b_end) for one in edits]
    return bool(inside) and any(inside[0] <= end and start <= inside[-1] + 1 for start, end in ranges)
