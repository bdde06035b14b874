"""The pack's scored pairs: VQA-RAD questions, their answers as chosen, model-written wrong answers as rejected.

The record ``{"id": "mmedpo-vqarad-15", "image_id": "vqa_rad/synpic42202", "question": "Is there a pneumothorax?",
"chosen": "No", "rejected": "Yes, the chest X-ray clearly shows pneumothorax.", "score": 1.0}`` becomes a pair of one
view (clean) with weight 1.0 and kind ``text``. The rejected answers are 12 words longer on average: a text-only reader
tells them apart, so screens and the card's style test matter here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medpref import store
from medpref.errors import DataError
from medpref.schema import CHOSEN, CLEAN, REJECTED, Example, PreferencePair, Reply
from medpref.sources.pack_vqa import VALIDATION_SHARE, VqaSplit, records, vqa_examples

FILE = "preferences.jsonl"


def pack_pairs(
    folder: Path, *, vqa_split: VqaSplit = "official", validation: float = VALIDATION_SHARE
) -> Iterator[PreferencePair]:
    """The scored pairs of a pack folder whose question is a train example; held-out questions never give one.

    The rules of splitting are those of `pack.Pack`. DataError where a record names no VQA-RAD question of its image, or
    where its score is no weight.
    """
    asked: dict[tuple[str, str], list[Example]] = defaultdict(list)
    for record, ref in records(folder, {"vqa_rad"}):
        for example in vqa_examples(record, ref, parts={"vqa_rad"}, vqa_split=vqa_split, validation=validation):
            asked[record["id"], _key(example.question)].append(example)
    for number, row in store.iter_lines(folder / FILE):
        where = f"{folder / FILE}:{number}"
        examples = asked.get((row["image_id"], _key(row["question"])))
        if examples is None:
            given = f"question {row['question']!r} about {row['image_id']}"
            todo = "correct the record, or remove it"
            raise DataError(f"{where}:question", given=given, expected="a VQA-RAD question", todo=todo)
        if all(example.split == "train" for example in examples):
            yield _pair(row, examples[0], where)


def _key(question: str) -> str:
    return " ".join(question.casefold().split())


def _pair(row: Mapping[str, Any], example: Example, where: str) -> PreferencePair:
    score = row["score"]
    if not isinstance(score, int | float) or not math.isfinite(score) or score < 0:
        todo = "correct the score, or remove the record"
        raise DataError(f"{where}:score", given=f"score = {score}", expected="a number from 0", todo=todo)
    replies = {
        CHOSEN: Reply(text=row["chosen"], author="VQA-RAD"),
        REJECTED: Reply(text=row["rejected"], author="MMedPO"),
    }
    return PreferencePair(
        id=row["id"],
        example=example.id,
        patient=example.patient,
        question=example.question,
        views={CLEAN: example.images},
        replies=replies,
        weight=float(score),
        kind="text",
        provenance={key: row[key] for key in ("dataset", "source", "license", "score") if key in row},
    )
