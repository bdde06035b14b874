from collections import Counter
from pathlib import Path

import pytest

from medpref import store
from medpref.errors import DataError
from medpref.imaging.decode import read_image
from medpref.imaging.regions import area, mask_to_array
from medpref.registry import SOURCES
from medpref.schema import Example
from medpref.sources.pack import Pack
from medpref.sources.pack_pairs import pack_pairs
from medpref.sources.pack_vqa import choices_of, kind_of, vqa_splits
from medpref.sources.splits import check_examples, leaks
from tests.sources.user_data import write_rows


@pytest.fixture(scope="module")
def examples(pack_folder: Path) -> list[Example]:
    return list(Pack(folder=str(pack_folder)).load(pack_folder, seed=0, prefix="examples"))


def qa(question: str, answer: str, *, answer_type: str = "CLOSED", category: str | None = None) -> dict[str, object]:
    return {"question": question, "answer": answer, "answer_type": answer_type, "category": category}


def test_question_types_and_choices_by_hand() -> None:
    assert kind_of(qa("Is there a pneumothorax?", "No")) == "presence"
    assert kind_of(qa("Does this patient have a skull fracture?", "No")) == "presence"
    assert kind_of(qa("Is this a T2 weighted image?", "Yes")) == "other"
    assert kind_of(qa("Where is the mass?", "left", answer_type="OPEN")) == "other"
    assert kind_of(qa("what plane is this?", "axial", answer_type="OPEN", category="plane")) == "plane"
    assert choices_of(qa("Is this an abscess or cancer?", "Abscess")) == ("abscess", "cancer")
    assert choices_of(qa("Do you expect more plaques?", "Maybe")) == ()
    assert choices_of(qa("Is it there?", " Yes ")) == ("yes", "no")
    assert choices_of(qa("Is it there?", "yes", answer_type="OPEN")) == ()


def test_splits_of_one_image_by_hand() -> None:
    asked = [{"qid": "a", "split": "train"}, {"qid": "b", "split": "test"}, {"qid": "c", "split": "validation"}]
    official = vqa_splits(asked, "g", vqa_split="official", validation=0.999)
    assert official == {"a": "train", "b": "test", "c": "test"}
    assert set(vqa_splits(asked, "g", vqa_split="by_image", validation=0).values()) == {"test"}
    assert vqa_splits(asked[:1], "g", vqa_split="official", validation=0.999999) == {"a": "validation"}
    assert vqa_splits(asked[:1], "g", vqa_split="official", validation=0) == {"a": "train"}


def test_every_question_of_the_manifest_is_there_once_with_its_own_text(
    examples: list[Example], pack_folder: Path
) -> None:
    recorded = {
        entry["qid"]: (entry["question"], entry["answer"], entry["split"])
        for _, record in store.iter_lines(pack_folder / "manifest.jsonl")
        for entry in record["qa"]
    }
    held = {example.id: example for example in examples if example.tags["source"] != "cxr"}
    assert held.keys() == recorded.keys()
    official = {"train": {"train", "validation"}, "validation": {"test"}, "test": {"test"}}
    for qid, (question, answer, split) in recorded.items():
        assert (held[qid].question, held[qid].answer) == (question, answer)
        assert held[qid].split in official[split]


def test_counts_by_source_and_split(examples: list[Example]) -> None:
    check_examples(examples, where="pack")
    counts = Counter((example.tags["source"], example.split) for example in examples)
    assert counts["vqa_rad", "test"] == 40
    assert counts["vqa_rad", "train"] + counts["vqa_rad", "validation"] == 207
    assert counts["vqa_med", "test"] == 4 * (98 + 5)
    assert counts["vqa_med", "train"] + counts["vqa_med", "validation"] == 4 * (396 + 29)
    share = counts["vqa_med", "validation"] / (4 * 425)
    assert 0.06 < share < 0.14
    assert Counter(e.split for e in examples if e.kind == "view") == {"train": 194, "validation": 45, "test": 53}


def test_closed_answers_are_among_their_choices(examples: list[Example]) -> None:
    for example in examples:
        if example.answer_type == "closed":
            assert example.answer.strip().casefold() in {choice.casefold() for choice in example.choices}
        else:
            assert example.choices == ()


def test_leaks_are_those_of_the_official_split_and_gone_by_image(examples: list[Example], pack_folder: Path) -> None:
    found = {leak.name for leak in leaks(examples) if leak.what == "patient"}
    with_test = {
        record["group"]
        for _, record in store.iter_lines(pack_folder / "manifest.jsonl")
        if len({entry["split"] == "train" for entry in record["qa"]}) == 2
    }
    assert found == with_test
    told = {example.patient for example in examples if example.tags.get("image_seen") == "yes"}
    assert told == with_test
    by_image = Pack(folder=str(pack_folder), vqa_split="by_image")
    assert leaks(by_image.load(pack_folder, seed=0, prefix="")) == []


def test_chest_films_assert_only_what_was_drawn(examples: list[Example], pack_folder: Path) -> None:
    presence = [example for example in examples if example.tags["source"] == "cxr" and example.kind == "presence"]
    answers = Counter((example.tags["finding"], example.answer) for example in presence)
    assert answers == {
        ("consolidation", "yes"): 11,
        ("consolidation", "no"): 22,
        ("ground-glass opacities", "yes"): 33,
    }
    areas = {}
    for _, record in store.iter_lines(pack_folder / "manifest.jsonl"):
        for mask in record["masks"]:
            if mask["origin"] == "drawn by radiologists":
                areas[record["id"], mask["label"].casefold().replace("ground glass", "ground-glass")] = mask["area_px"]
    for example in presence:
        assert bool(example.regions) == (example.answer == "yes") == example.facts[0].present
        for region in example.regions:
            key = (example.id.rsplit("/", 1)[0], example.tags["finding"])
            assert area(mask_to_array(region.mask)) == areas[key]
            image = read_image(Path(example.images[0].path))
            assert (region.mask.width, region.mask.height) == image.size
    assert {example.tags["noncommercial"] for example in examples if example.tags["source"] == "cxr"} == {"yes"}
    assert {example.tags["noncommercial"] for example in examples if example.tags["source"] != "cxr"} == {"no"}


def test_parts_choose_what_is_loaded(pack_folder: Path) -> None:
    source = SOURCES.parse({"kind": "pack", "folder": str(pack_folder), "parts": ["vqa_rad"]}, where="test")
    loaded = list(source.load(pack_folder, seed=1, prefix=""))
    assert len(loaded) == 247
    assert {example.tags["source"] for example in loaded} == {"vqa_rad"}
    assert list(Pack(folder=str(pack_folder), parts=("cxr",)).pairs()) == []


def test_dicom_goes_all_the_way_to_a_blob(pack_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("openjpeg", reason="needs pylibjpeg-openjpeg for JPEG 2000")
    loaded = list(Pack(folder=str(pack_folder), parts=("dicom",)).load(tmp_path, seed=0, prefix="examples"))
    answers = {example.id: example.answer for example in loaded}
    assert answers == {
        "dicom/RG1_J2KI/modality": "XR",
        "dicom/RG1_J2KI/view": "PA",
        "dicom/CT_small/modality": "CT",
        "dicom/RG1_small_explicit_le/modality": "XR",
        "dicom/RG1_small_explicit_le/view": "PA",
    }
    assert {example.patient for example in loaded} == {"dicom-RG1", "dicom-CT"}
    for example in loaded:
        path = tmp_path / example.images[0].path.removeprefix("examples/")
        assert store.file_digest(path) == example.images[0].sha256
        assert read_image(path).mode == "L"


def test_scored_pairs_are_of_train_questions_only(examples: list[Example], pack_folder: Path) -> None:
    held = {example.id: example for example in examples}
    pairs = list(Pack(folder=str(pack_folder)).pairs())
    assert [pair.id for pair in pairs] == [pair.id for pair in pack_pairs(pack_folder)]
    assert 190 <= len(pairs) <= 207
    rows = {row["id"]: row for _, row in store.iter_lines(pack_folder / "preferences.jsonl")}
    for pair in pairs:
        example, row = held[pair.example], rows[pair.id]
        assert example.split == "train"
        assert (pair.patient, pair.views["clean"]) == (example.patient, example.images)
        assert (pair.weight, pair.kind) == (row["score"], "text")
        assert (pair.replies["chosen"].text, pair.replies["rejected"].text) == (row["chosen"], row["rejected"])
    left_out = {row["id"] for row in rows.values()} - {pair.id for pair in pairs}
    spared = {example.images[0].path for example in examples if example.split == "validation"}
    assert left_out
    assert all(str((pack_folder / rows[id]["image"]).resolve()) in spared for id in left_out)
    by_image = list(pack_pairs(pack_folder, vqa_split="by_image"))
    tested = {example.patient for example in examples if example.split == "test"}
    assert by_image
    assert not {pair.patient for pair in by_image} & tested


def test_a_bad_pair_record_is_named(pack_folder: Path, tmp_path: Path) -> None:
    for name in ("images", "manifest.jsonl"):
        (tmp_path / name).symlink_to(pack_folder / name)
    row = next(row for _, row in store.iter_lines(pack_folder / "preferences.jsonl"))
    write_rows(tmp_path / "preferences.jsonl", [{**row, "score": float("nan")}])
    with pytest.raises(DataError, match=r"preferences\.jsonl:1:score: score = nan; expected a number from 0"):
        list(pack_pairs(tmp_path))
    write_rows(tmp_path / "preferences.jsonl", [{**row, "question": "Is this a test?"}])
    with pytest.raises(DataError, match=r"preferences\.jsonl:1:question: question 'Is this a test\?' about vqa_rad/"):
        list(pack_pairs(tmp_path))
