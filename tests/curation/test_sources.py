"""The rules on whole data sets: the synthetic one, and the real pack where it is there."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from medpref.curation.draft import Context
from medpref.curation.falsify import alike_in_length, falsify
from medpref.curation.pool import gather
from medpref.curation.write import Targeted
from medpref.judging.agreement import Agreement
from medpref.registry import SOURCES
from medpref.schema import Example


def loaded(spec: dict[str, Any], folder: Path) -> tuple[list[Example], Context]:
    source = SOURCES.parse(spec, where="test")
    examples = [one for one in source.load(folder / "examples", seed=0, prefix="examples") if one.split == "train"]
    return examples, gather(examples, {}, seed=0, root=folder)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Example], Context]:
    kinds = (
        "presence",
        "side",
        "zone",
        "severity",
        "count",
        "abnormality",
        "view",
        "device",
        "report",
        "region",
        "compare",
    )
    spec = {"kind": "phantom", "studies": 30, "validation": 2, "test": 2, "size_px": 64, "questions": kinds}
    return loaded(spec, tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def pack(pack_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Example], Context]:
    return loaded({"kind": "pack", "folder": str(pack_folder)}, tmp_path_factory.mktemp("pack"))


def check_all(examples: list[Example], context: Context) -> Counter[str]:
    missing: Counter[str] = Counter()
    for example in examples:
        assert Agreement().judge(example, example.answer).value == 1.0
        wrong = falsify(example, example.answer, context, purpose="test", whole_sentences=True)
        if wrong is None:
            missing[example.kind] += 1
            continue
        assert Agreement().judge(example, wrong.text).value == 0.0, (example.answer, wrong)
        assert alike_in_length(wrong.text, example.answer)
        assert wrong.text.endswith(".") == example.answer.strip().endswith(".")
    return missing


def test_every_phantom_question_gets_a_plausible_wrong_answer(phantom) -> None:
    examples, context = phantom
    assert len({example.kind for example in examples}) == 11
    assert not check_all(examples, context)


def test_wrong_phantom_answers_are_in_the_words_of_right_ones(phantom) -> None:
    examples, context = phantom
    right = {example.answer for example in examples}
    wrong = [
        falsify(one, one.answer, context, purpose="test", whole_sentences=True)
        for one in examples
        if one.kind != "report"
    ]
    share = sum(one is not None and one.text in right for one in wrong) / len(wrong)
    assert share > 0.9


def test_nearly_every_real_question_gets_a_plausible_wrong_answer(pack) -> None:
    examples, context = pack
    missing = check_all(examples, context)
    assert sum(missing.values()) <= 0.02 * len(examples), missing


def test_the_same_answer_gets_different_wrong_ones(pack) -> None:
    examples, context = pack
    organs = [one for one in examples if one.kind == "organ" and one.answer == "skull and contents"]
    made = {falsify(one, one.answer, context, purpose="test").text for one in organs}
    assert len(made) >= 2


@pytest.mark.parametrize("error", ["presence", "side", "zone", "plane", "organ", "modality", "finding"])
def test_targeted_errors_exist_in_real_data(error: str, pack) -> None:
    examples, context = pack
    made = [Targeted(error=error).write(one, context, role="rejected", other=None) for one in examples]
    assert sum(hasattr(one, "replies") for one in made) >= 2
