"""One concept written where another stood: the same surface form, letter case, number and article."""

from __future__ import annotations

import re

from medpref.language.findings import Mention
from medpref.language.lexicon import Concept, lexicon
from medpref.language.rewrite import Replacement
from medpref.language.wording import looks_plural, plural, recase, with_article


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
    """What makes "Bilateral lungs" a "Left lung": the plural goes."""
    if mention.concept.name != "both" or concept.name not in ("left", "right"):
        return ()
    noun = re.match(r"\s+([A-Za-z]+[^s\W])s\b", text[mention.end :])
    return (Replacement(mention.end + noun.end() - 1, mention.end + noun.end(), ""),) if noun else ()
