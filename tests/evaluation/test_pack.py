"""Real questions: the reference answer, given as the reply, is right by every metric of ours."""

import json
import os
from pathlib import Path

import pytest

from medpref.evaluation.vqa import answer_rows
from medpref.schema import Example, ImageRef

PACK = Path(os.environ.get("MEDPREF_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.skipif(not (PACK / "manifest.jsonl").exists(), reason="the real data pack is not here (MEDPREF_DATA)")
def test_references_are_right():
    image = (ImageRef(path="x", sha256="0" * 64),)
    judged = 0
    for line in (PACK / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for asked in record["qa"]:
            closed = str(asked["answer_type"]).strip().lower().startswith("closed")
            example = Example(
                id=asked["qid"],
                patient=record["id"],
                images=image,
                question=asked["question"],
                answer=str(asked["answer"]),
                split="test",
                answer_type="closed" if closed else "open",
            )
            for row in answer_rows(example, example.answer):
                judged += 1
                assert row.value == 1.0, (row.metric, example.question, example.answer, row.reason)
    assert judged > 2000
