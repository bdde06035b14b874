import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medpref.errors import DataError
from medpref.imaging.regions import mask_to_array
from medpref.registry import SOURCES
from medpref.schema import Example, Region
from medpref.sources.slake_regions import named_regions, read_regions
from medpref.sources.slake_words import words
from tests.sources.user_data import write_image

LABELS = "1:Liver\n2:Left Lung\n3:Right Lung\n4:Liver Cancer\n"
COUNTER = iter(range(10_000))


def record(image: int, question: str, answer: str, **fields: Any) -> dict[str, Any]:
    return {
        "img_id": image,
        "img_name": f"xmlab{image}/source.jpg",
        "question": question,
        "answer": answer,
        "q_lang": "en",
        "location": "Abdomen",
        "modality": "CT",
        "answer_type": "OPEN",
        "base_type": "vqa",
        "content_type": "Organ",
        "triple": ["vhead", "_", "_"],
        "qid": next(COUNTER),
        **fields,
    }


def miniature(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    """Two images: xmlab1 with a believable mask and boxes, xmlab2 with boxes only."""
    for number in (1, 2):
        write_image(folder / "imgs" / f"xmlab{number}" / "source.jpg", seed=number)
    labels = np.zeros((12, 16), dtype=np.uint8)
    labels[2:5, 1:4], labels[6:9, 10:15], labels[3, 2] = 1, 2, 4
    Image.fromarray(np.stack([labels] * 3, axis=2)).save(folder / "imgs" / "xmlab1" / "mask.png")
    boxes: list[dict[str, list[float]]] = [{"Liver": [1.0, 2.0, 3.0, 3.0]}, {"Spleen": [10.4, 1.2, 20.0, 2.5]}]
    (folder / "imgs" / "xmlab1" / "detection.json").write_text(json.dumps(boxes))
    (folder / "imgs" / "xmlab2" / "detection.json").write_text(json.dumps([{"Lung Cancer": [2, 3, 4, 5]}]))
    (folder / "mask.txt").write_text(LABELS)
    for name in ("train", "validate", "test"):
        rows = splits.get(name, [record(2, "What is this?", "CT")])
        (folder / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return folder


def load(folder: Path, **fields: Any) -> list[Example]:
    source = SOURCES.parse({"kind": "slake", "folder": str(folder), **fields}, where="test")
    assert source.synthetic is False
    return list(source.load(folder / "out", seed=0, prefix="examples"))


def test_the_records_of_the_three_files_by_hand(tmp_path: Path) -> None:
    asked = [
        record(1, "Is there a liver?", "Yes", answer_type="CLOSED", content_type="Abnormality", qid=7),
        record(1, "How many lungs are there?", 2, content_type="Quantity", base_type="kvqa", qid=8),
    ]
    examples = load(miniature(tmp_path, train=asked))
    assert [example.split for example in examples] == ["train", "train", "validation", "test"]
    first, second = examples[:2]
    assert (first.id, first.patient, first.kind, first.source) == ("xmlab1/7", "xmlab1", "abnormality", "slake")
    assert (first.answer_type, first.choices, second.answer_type) == ("closed", ("yes", "no"), "open")
    assert first.tags == {
        "source": "slake",
        "language": "en",
        "modality": "CT",
        "location": "Abdomen",
        "knowledge": "no",
    }
    assert (second.kind, second.answer, second.tags["knowledge"]) == ("count", "2", "yes")
    assert Path(first.images[0].path) == (tmp_path / "imgs" / "xmlab1" / "source.jpg").resolve()


def test_regions_come_from_the_mask_and_from_boxes_that_it_lacks(tmp_path: Path) -> None:
    folder = miniature(tmp_path)
    found = read_regions(folder / "imgs" / "xmlab1", {1: "Liver", 2: "Left Lung", 4: "Liver Cancer"}, size=(12, 16))
    assert found.masked
    boxes = {region.label: region.box for region in found.regions}
    assert boxes == {
        "Liver": (1, 2, 4, 5),
        "Left Lung": (10, 6, 15, 9),
        "Liver Cancer": (2, 3, 3, 4),
        "Spleen": (10, 1, 16, 4),  # rounded outwards, cut at the right edge
    }
    liver = next(region for region in found.regions if region.label == "Liver")
    assert liver.mask is not None
    assert mask_to_array(liver.mask).sum() == 8, "nine pixels less the one of the cancer"
    assert next(region for region in found.regions if region.label == "Spleen").mask is None


def test_questions_get_the_regions_they_name() -> None:
    held = tuple(
        Region(box=(n, 0, n + 1, 1), label=label)
        for n, label in enumerate(["Liver", "Left Lung", "Right Lung", "Liver Cancer", "Spleen", "Brain Tumor"])
    )

    def named(question: str, answer: str = "Yes") -> list[str]:
        return [region.label for region in named_regions(question, answer, regions=held)]

    assert named("Is the liver healthy?") == ["Liver"]
    assert named("Are the lungs normal?") == ["Left Lung", "Right Lung"]
    assert named("Is there something in the right lung?") == ["Right Lung"]
    assert named("Where is the liver cancer?") == ["Liver Cancer"]
    assert named("Where is the abnormality?") == ["Liver Cancer", "Brain Tumor"]
    assert named("Is there a tumor?") == ["Brain Tumor"]
    assert named("Is there a tumor in the spleen?") == ["Spleen"]
    assert named("What is the largest organ?", "Liver") == ["Liver"]
    assert named("Which modality is it?", "CT") == []
    assert named("左肺正常吗？", "是") == ["Left Lung"]
    assert named("图中有肝癌吗？", "有") == ["Liver Cancer"]
    assert named("肿瘤在哪里？", "左边") == ["Brain Tumor"]
    assert {"brain", "edema"} <= words("有脑水肿吗")


@pytest.mark.parametrize("mode", ["P", "L"])
def test_masks_of_other_modes_say_the_same(tmp_path: Path, mode: str) -> None:
    labels = np.zeros((12, 16), dtype=np.uint8)
    labels[2:5, 1:4] = 1
    image = Image.fromarray(labels)
    if mode == "P":
        image = image.convert("P")
        image.putdata(labels.ravel().tolist())
        image.putpalette([255 - value // 3 for value in range(768)])
    image.save(tmp_path / "mask.png")
    found = read_regions(tmp_path, {1: "Liver"}, size=(12, 16))
    assert [(region.label, region.box) for region in found.regions] == [("Liver", (1, 2, 4, 5))]


@pytest.mark.parametrize("fault", ["unnamed value", "other size", "colour", "no names"])
def test_a_mask_that_cannot_be_believed_leaves_the_boxes(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = miniature(tmp_path, train=[record(1, "Is the liver normal?", "Yes"), record(1, "Where is the lung?", "x")])
    labels = np.zeros((12, 16, 3), dtype=np.uint8)
    labels[2:5, 1:4] = 9 if fault == "unnamed value" else 1
    if fault == "colour":
        labels[..., 1] = 0
    Image.fromarray(labels[:6] if fault == "other size" else labels).save(folder / "imgs" / "xmlab1" / "mask.png")
    if fault == "no names":
        (folder / "mask.txt").unlink()
    with caplog.at_level(logging.WARNING):
        first, second = load(folder)[:2]
    assert [(region.box, region.mask) for region in first.regions] == [((1, 2, 4, 5), None)]
    assert second.regions == (), "a lung that no mask and no box shows"
    assert "2 of 2 images have boxes only: no usable mask" in caplog.text


def test_languages(tmp_path: Path) -> None:
    both = [
        record(1, "Is it a CT or MRI?", "CT", answer_type="CLOSED", content_type="Modality"),
        record(1, "肝脏正常吗？", "不是", q_lang="zh", answer_type="CLOSED", content_type="Abnormality"),
        record(1, "这是CT还是MRI？", "CT", q_lang="zh", answer_type="CLOSED"),
        record(1, "有几个肾？", "2", q_lang="zh", answer_type="CLOSED"),
    ]
    folder = miniature(tmp_path, train=both)
    assert [example.tags["language"] for example in load(folder)] == ["en", "en", "en"]
    assert load(folder)[0].choices == ("ct", "mri")
    chinese = load(folder, language="zh")
    assert [example.choices for example in chinese] == [("是的", "不是"), ("CT", "MRI"), ()]
    assert [example.answer_type for example in chinese] == ["closed", "closed", "open"]
    assert [region.label for region in chinese[0].regions] == ["Liver"]
    assert len(load(folder, language="both")) == 6


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "test.json").unlink(), r"test\.json: nothing there; expected SLAKE's questions"),
        (lambda f: (f / "test.json").write_text("{"), r"test\.json: line 1"),
        (lambda f: (f / "test.json").write_text("{}"), r"test\.json: a dict; expected a JSON array of records"),
        (
            lambda f: (f / "test.json").write_text('[{"img_name": "a"}]'),
            r"test\.json\[0\]: question = .*; expected Field required",
        ),
        (
            lambda f: (f / "test.json").write_text(json.dumps([record(9, "q", "a")])),
            r"test\.json\[0\]\.img_name: .*xmlab9/source\.jpg: no such file",
        ),
        (lambda f: (f / "mask.txt").write_text("1:Liver\nLung"), r"mask\.txt:2: 'Lung'; expected VALUE:NAME"),
        (
            lambda f: (f / "imgs" / "xmlab2" / "detection.json").write_text('[{"Liver": [1, 2]}]'),
            r"detection\.json: 'Liver': \[1, 2\]; expected \[left, top, width, height\]",
        ),
        (
            lambda f: (f / "imgs" / "xmlab2" / "mask.png").write_bytes(b"no"),
            r"mask\.png: unreadable mask \(UnidentifiedImageError\)",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, break_it: Any, message: str) -> None:
    folder = miniature(tmp_path)
    break_it(folder)
    with pytest.raises(DataError, match=message):
        load(folder)
