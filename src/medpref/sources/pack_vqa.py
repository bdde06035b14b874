"""The questions of the pack: its records, their splits, question types and choices.

VQA-RAD's questions come with answers of many forms ("Yes", "yes", "Not sure", "supratentorial"); a question counts as
closed only where its answer is one of two that the question itself offers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from medpref import store
from medpref.errors import DataError
from medpref.schema import Example, ImageRef, Split
from medpref.sources.rows import YES_NO
from medpref.sources.splits import unit_hash

VqaSplit = Literal["official", "by_image"]
VALIDATION_SHARE = 0.1
PARTS: Mapping[str, str] = {"VQA-RAD": "vqa_rad", "VQA-Med-2019": "vqa_med"}
PRESENCE = re.compile(
    r"\b(is|are|was|were)\s+there\b|\bpresent\b|\bpresence\b|\bevidence of\b|\bevident\b|\bseen\b"
    r"|^(do|can) you see\b|^(does|did) (this|the) (patient|image)\b.*\b(have|display|show)\b",
    re.IGNORECASE,
)
EITHER = re.compile(r"(\w+) or (\w+)\W*$", re.IGNORECASE)


def records(folder: Path, parts: Collection[str]) -> Iterator[tuple[dict[str, Any], ImageRef]]:
    """Each record with something to read in these parts, and its image; DataError where the file is another one."""
    manifest = folder / "manifest.jsonl"
    for number, record in store.iter_lines(manifest):
        wanted = {PARTS[qa["dataset"]] for qa in record["qa"]} or {"cxr"}
        if not wanted & set(parts):
            continue
        path = folder / record["file"]
        where = f"{manifest}:{number}:file"
        if not path.is_file():
            todo = "unpack the whole pack"
            raise DataError(where, given=f"{record['file']} is missing", expected="the image", todo=todo)
        sha256 = store.file_digest(path)
        if sha256 != record["sha256"]:
            given, todo = f"{record['file']} with content {sha256[:12]}", "restore the file (sha256sum -c SHA256SUMS)"
            raise DataError(where, given=given, expected=f"content {record['sha256'][:12]}", todo=todo)
        yield record, ImageRef(path=str(path.resolve()), sha256=sha256)


def vqa_examples(
    record: Mapping[str, Any], ref: ImageRef, *, parts: Collection[str], vqa_split: VqaSplit, validation: float
) -> Iterator[Example]:
    """The record's questions of the parts asked for; `pack.Pack` says what the fields mean."""
    asked = [qa for qa in record["qa"] if PARTS[qa["dataset"]] in parts]
    splits = vqa_splits(record["qa"], record["group"], vqa_split=vqa_split, validation=validation)
    seen = "yes" if any(splits[qa["qid"]] == "train" for qa in asked) else "no"
    for qa in asked:
        split = splits[qa["qid"]]
        part = PARTS[qa["dataset"]]
        choices, kind = choices_of(qa), kind_of(qa)
        tags = {"source": part, "modality": record["modality"], "noncommercial": "no"}
        if split == "test":
            tags["image_seen"] = seen
        if kind == "presence":
            tags["polarity"] = "present" if qa["answer"].strip().casefold() == "yes" else "absent"
        yield Example(
            id=qa["qid"],
            patient=record["group"],
            images=(ref,),
            question=qa["question"],
            answer=qa["answer"],
            split=split,
            kind=kind,
            answer_type="closed" if choices else "open",
            choices=choices,
            tags=tags,
            source="pack",
        )


def vqa_splits(
    asked: Collection[Mapping[str, Any]], group: str, *, vqa_split: VqaSplit, validation: float
) -> dict[str, Split]:
    """The split of each question about one image (give all of them, whatever the parts), by the question's id."""
    held = {qa["qid"] for qa in asked if qa["split"] in ("test", "validation")}
    if held and vqa_split == "by_image":
        held = {qa["qid"] for qa in asked}
    spared = not held and unit_hash(0, "pack validation", group) < validation
    return {qa["qid"]: "test" if qa["qid"] in held else "validation" if spared else "train" for qa in asked}


def kind_of(qa: Mapping[str, Any]) -> str:
    """The question type: VQA-Med-2019's category; for VQA-RAD presence (yes or no: is it there?) or other."""
    if qa["category"]:
        return str(qa["category"])
    return "presence" if choices_of(qa) == YES_NO and PRESENCE.search(qa["question"].strip()) else "other"


def choices_of(qa: Mapping[str, Any]) -> tuple[str, ...]:
    """The answers of a closed question: yes and no, or the two that it offers; none where it has other answers."""
    answer = qa["answer"].strip().casefold()
    if qa["answer_type"] != "CLOSED":
        return ()
    if answer in YES_NO:
        return YES_NO
    offered = EITHER.search(qa["question"])
    words = tuple(word.casefold() for word in offered.groups()) if offered else ()
    return words if answer in words else ()
