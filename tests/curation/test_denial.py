"""The denial is what the phantom itself says of the film without the finding; where it cannot know, it is refused."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medpref.curation.build import build_pairs
from medpref.curation.denial import Denial, erasable
from medpref.curation.draft import Draft, Refused
from medpref.curation.pool import gather
from medpref.curation.views import rebuild
from medpref.imaging.decode import read_array
from medpref.judging.agreement import Agreement
from medpref.language.answers import normalise
from medpref.recipe import load_recipe
from medpref.schema import Example, PreferencePair, Region
from medpref.sources.phantom import Phantom
from medpref.store import read_lines

from .studies import context_of, train_split

WIDER_PX = 2


def denied(example: Example, examples: list[Example], root: Path) -> str | None:
    draft = Denial().write(example, context_of(examples, root), role="rejected", other=None)
    return draft.replies["rejected"].text if isinstance(draft, Draft) else None


def asking(question: str, answer: str, label: str, **fields: object) -> Example:
    base = {"id": "x", "patient": "p", "split": "train", "kind": "presence", "answer_type": "closed"}
    image = {"path": "examples/x.png", "sha256": "0" * 64}
    regions = (Region(box=(0, 0, 4, 4), label=label),) if label else ()
    made = {**base, "images": (image,), "question": question, "answer": answer, "regions": regions, **fields}
    return Example.model_validate(made)


@pytest.mark.parametrize(
    ("question", "answer", "label", "fields", "expected"),
    [
        ("Is there a pleural effusion?", "Yes", "pleural effusion", {"choices": ("yes", "no")}, "No"),
        ("Is there a pleural effusion?", "yes.", "Pleural Effusion", {}, "no."),
        ("Is there a pleural effusion?", "No", "pleural effusion", {"choices": ("yes", "no")}, None),
        ("Is there a pleural effusion?", "Yes", "pneumothorax", {"choices": ("yes", "no")}, None),
        ("Is there a pleural effusion?", "Yes", "", {"choices": ("yes", "no")}, None),
        ("Is there an effusion or a pneumothorax?", "Yes", "pneumothorax", {"choices": ("yes", "no")}, None),
        ("Is the film free of pleural effusion?", "Yes", "pleural effusion", {"choices": ("yes", "no")}, None),
        ("Does the picture contain liver?", "Yes", "Liver", {"choices": ("yes", "no")}, None),
        ("On which side is the nodule?", "Left", "nodule", {"choices": ("left", "right", "none")}, "None"),
        ("On which side is the nodule?", "Left", "nodule", {"choices": ("left", "right")}, None),
        ("On which side is the nodule?", "None", "nodule", {"choices": ("left", "right", "none")}, None),
        ("Describe the nodule.", "There is a nodule.", "nodule", {"answer_type": "report"}, None),
    ],
)
def test_by_hand(question, answer, label, fields, expected, tmp_path) -> None:
    example = asking(question, answer, label, **fields)
    assert denied(example, train_split(tmp_path), tmp_path) == expected


@pytest.mark.parametrize("other", ["consolidation", "Liver", "", "pleural effusion and consolidation"])
def test_what_would_be_erased_beside_the_finding_refuses(other: str, tmp_path) -> None:
    """Every region of the example is corrupted: one that shows more than is asked about must not be there."""
    alone = asking("Is there a pleural effusion?", "Yes", "pleural effusion", choices=("yes", "no"))
    twice = alone.model_copy(update={"regions": (*alone.regions, Region(box=(8, 8, 12, 12), label="Pleural effusion"))})
    mixed = alone.model_copy(update={"regions": (*alone.regions, Region(box=(8, 8, 12, 12), label=other))})
    examples = train_split(tmp_path)
    assert [denied(one, examples, tmp_path) for one in (alone, twice, mixed)] == ["No", "No", None]
    both = mixed.model_copy(update={"question": "Is there a pleural effusion or a consolidation?"})
    assert len(erasable(both)) == (2 if "consolidation" in other else 0)


def test_an_open_answer_is_denied_only_in_words_that_the_data_use(tmp_path) -> None:
    """Without any "None" among the answers of its kind there is nothing to say."""
    where = {"kind": "zone", "answer_type": "open"}
    present = asking("In which zone is the nodule?", "Left upper zone", "nodule", **where)
    absent = asking("In which zone is the nodule?", "none", "", **where).model_copy(update={"id": "y"})
    assert denied(present, [present], tmp_path) is None
    assert denied(present, [present, absent], tmp_path) == "None"
    assert denied(absent, [present, absent], tmp_path) is None


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> tuple[Path, list[Example]]:
    root = tmp_path_factory.mktemp("denial")
    source = Phantom(studies=24, validation=0, test=24, size_px=64)
    return root, list(source.load(root / "examples", seed=3, prefix="examples"))


def test_against_the_phantoms_own_answer_without_the_finding(phantom) -> None:
    """An independent source: the phantom answers its counterfactual film from the facts, not from the reply."""
    root, examples = phantom
    context = gather([one for one in examples if one.split == "train"], {}, seed=0, root=root, held_out=[])
    made: Counter[str] = Counter()
    for example in (one for one in examples if one.split == "test"):
        draft = Denial().write(example, context, role="rejected", other=None)
        if isinstance(draft, Refused):
            assert draft.reason
            continue
        text = draft.replies["rejected"].text
        assert normalise(text) == normalise(example.counterfactual_answer or "")
        assert Agreement().judge(example, text).value == 0.0
        assert erasable(example)
        made[example.kind] += 1
    assert set(made) >= {"presence", "side", "severity", "zone", "count", "device"}


def test_the_recipe_erases_what_it_denies_and_nothing_else(phantom) -> None:
    root, examples = phantom
    train = [one for one in examples if one.split == "train"]
    out = root / "pairs" / "flip"
    assert load_recipe("flip").pairs[1]["localize"]["dilate_px"] == WIDER_PX
    build_pairs(load_recipe("flip").pairs, train, {}, out, root=root, prefix="pairs/flip", seed=0)
    pairs = read_lines(out / "pairs.jsonl", PreferencePair)
    erased = [pair for pair in pairs if pair.provenance["builder"] == "erased"]
    by_id = {one.id: one for one in train}
    assert erased
    assert not [pair for pair in pairs if pair not in erased and "corrupt" in pair.views]
    for pair in erased[:20]:
        before = read_array(pair.views["clean"][0].locate(root))
        after = read_array(pair.views["corrupt"][0].locate(root))
        inside = np.zeros(before.shape[:2], dtype=bool)
        for region in by_id[pair.example].regions:
            left, top, right, bottom = region.box
            inside[max(0, top - WIDER_PX) : bottom + WIDER_PX, max(0, left - WIDER_PX) : right + WIDER_PX] = True
        assert (before != after).any()
        assert np.array_equal(before[~inside], after[~inside])
        assert np.array_equal(after, rebuild(pair, root)[0])
