"""Writers around another: the edited words alone, one reply of two; and the policy asked about a noised image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medpref.curation.builder import parse_builder
from medpref.curation.draft import Draft, Refused
from medpref.curation.revise import Correct
from medpref.curation.sampling import plans, shown
from medpref.curation.wrap import Only, Phrases
from medpref.curation.write import Sample, replies_of
from medpref.errors import RecipeError
from medpref.language.diff import outside, spans, split_words
from medpref.registry import WRITERS
from medpref.testing.studies import Studies, make_studies

NOISED = Sample(corrupt={"kind": "diffuse", "t": 900})


@pytest.fixture
def studies(tmp_path: Path) -> Studies:
    return make_studies(tmp_path)


def drafts(writer: Any, studies: Studies) -> list[Draft | Refused]:
    return [writer.write(one, studies.context, role="rejected", other=None) for one in studies.examples]


def test_phrases_are_the_words_in_which_the_wrapped_replies_differ(studies: Studies) -> None:
    pairs = list(zip(drafts(Correct(), studies), drafts(Phrases(), studies), strict=True))
    cut = 0
    for whole, phrases in pairs:
        if isinstance(whole, Refused) or isinstance(phrases, Refused):
            assert isinstance(phrases, Refused)
            continue
        texts = [whole.replies[name].text for name in ("chosen", "rejected")]
        for name, text, marked in zip(("chosen", "rejected"), texts, spans(*texts), strict=True):
            kept = split_words(phrases.replies[name].text)
            assert sorted(kept + outside(text, marked)) == sorted(split_words(text))
            cut += len(text) > len(phrases.replies[name].text)
    assert cut > 0


def test_a_phrase_by_hand(studies: Studies) -> None:
    report = next(one for one in studies.examples if one.kind == "report" and one.id.startswith("contract/0"))
    made = Phrases().write(report, studies.context, role="chosen", other=None)
    assert isinstance(made, Draft)
    whole = Correct().write(report, studies.context, role="chosen", other=None)
    assert isinstance(whole, Draft)
    assert whole.replies["chosen"].text == report.answer
    assert len(made.replies["chosen"].text.split()) < len(report.answer.split()) / 2


def test_only_keeps_one_reply_in_the_role_asked_for(studies: Studies) -> None:
    for whole, kept in zip(drafts(Correct(), studies), drafts(Only(), studies), strict=True):
        if isinstance(whole, Draft):
            assert isinstance(kept, Draft)
            assert kept.replies == {"rejected": whole.replies["rejected"]}
        else:
            assert kept == whole
    chosen = Only(reply="chosen").write(studies.examples[0], studies.context, role="rejected", other=None)
    whole = Correct().write(studies.examples[0], studies.context, role="chosen", other=None)
    assert isinstance(chosen, Draft)
    assert isinstance(whole, Draft)
    assert chosen.replies == {"rejected": whole.replies["chosen"]}


@pytest.mark.parametrize("kind", ["phrases", "only"])
def test_a_writer_of_one_reply_cannot_be_wrapped(kind: str) -> None:
    with pytest.raises(RecipeError, match="'reference' writes one reply"):
        WRITERS.parse({"kind": kind, "of": {"kind": "reference"}}, where="test")


def test_the_policy_is_shown_the_noised_image_and_the_same_one_again(studies: Studies) -> None:
    example, root = studies.examples[0], studies.context.root
    clean, noised = (np.asarray(shown(example, plan, root, seed=0)[0]) for plan in (Sample(), NOISED))
    assert np.array_equal(clean, studies.images[0])
    assert np.abs(noised.astype(int) - clean).mean() > 20
    assert np.array_equal(noised, np.asarray(shown(example, NOISED, root, seed=0)[0]))
    assert not np.array_equal(noised, np.asarray(shown(example, NOISED, root, seed=1)[0]))


def test_a_noised_reply_is_sampled_and_never_the_clean_one(studies: Studies) -> None:
    config = {"chosen": "reference", "rejected": NOISED.model_dump(mode="json")}
    assert plans([parse_builder(config, "test")]) == [NOISED]
    assert plans([parse_builder({"chosen": "reference", "rejected": "sample"}, "test")]) == []
    example = studies.examples[0]
    assert replies_of(Sample(), example, studies.context) == [studies.context.own[example.id].text]
    assert replies_of(NOISED, example, studies.context) == []
