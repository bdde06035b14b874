from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medpref.errors import DataError
from medpref.imaging.decode import encode_png, read_array
from medpref.imaging.regions import mask_to_array
from medpref.registry import SOURCES
from medpref.schema import Example
from tests.sources.user_data import folder_of_images, row, write_image, write_rows


def load(file: Path, out: Path, **fields: Any) -> list[Example]:
    source = SOURCES.parse({"kind": "jsonl", "file": str(file), **fields}, where="test")
    assert source.synthetic is False
    return list(source.load(out, seed=0, prefix="examples"))


def test_a_plain_row_by_hand(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 1)
    (only,) = load(write_rows(tmp_path / "data.jsonl", [row(1, "test")]), tmp_path / "out")
    assert only.id == "data-000001"
    assert (only.patient, only.split, only.answer, only.source) == ("p1", "test", "No", "jsonl")
    assert (only.answer_type, only.choices) == ("closed", ("yes", "no"))
    assert only.images[0].path == str((tmp_path / "images" / "p1.png").resolve())
    assert not (tmp_path / "out").exists(), "a plain image stays where it is"


def test_defaults_and_what_a_row_may_say_itself(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 2)
    rows = [
        row(1, "train", answer="In the left base.", patient=None, id="x", question="<image>\nWhere is it?"),
        row(1, "train", patient=7, answer="PA", choices=["AP", "PA"], kind="view", tags={"site": "a"}),
        row(2, "train", answer="no", answer_type="open", credentialed=True, facts=[{"finding": "effusion"}]),
    ]
    rows[1] = {key: value for key, value in rows[1].items() if key != "image"} | {"images": ["images/p1.png"] * 2}
    first, second, third = load(write_rows(tmp_path / "d.jsonl", rows), tmp_path / "out")
    assert first.question == "Where is it?"
    assert (first.id, first.answer_type, first.choices) == ("x", "open", ())
    assert first.patient == f"image:{first.images[0].sha256[:16]}"
    assert (second.patient, second.choices, len(second.images)) == ("7", ("AP", "PA"), 2)
    assert (second.kind, second.tags) == ("view", {"site": "a"})
    assert (third.answer_type, third.choices, third.credentialed) == ("open", (), True)
    assert third.facts[0].finding == "effusion"


def test_regions_from_boxes_mask_files_and_run_lengths(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 1)
    inside = np.zeros((12, 16), dtype=np.uint8)
    inside[2:5, 3:9] = 255
    (tmp_path / "m.png").write_bytes(encode_png(inside))
    regions = [
        {"box": [0, 0, 16, 12], "label": "all"},
        {"mask": "m.png", "label": "lesion", "confidence": 0.5},
        {"mask": {"height": 12, "width": 16, "runs": [5, 2, 185]}},
    ]
    (only,) = load(write_rows(tmp_path / "d.jsonl", [row(1, "train", regions=regions)]), tmp_path)
    box, mask, runs = only.regions
    assert (box.box, box.mask) == ((0, 0, 16, 12), None)
    assert (mask.box, mask.label, mask.confidence) == ((3, 2, 9, 5), "lesion", 0.5)
    assert np.array_equal(mask_to_array(mask.mask), inside > 0)
    assert runs.box == (5, 0, 7, 1)


def test_what_is_not_plain_becomes_a_blob_below_the_run_folder(tmp_path: Path) -> None:
    deep = np.arange(192, dtype=np.uint16).reshape(12, 16) * 300
    Image.fromarray(deep).save(tmp_path / "deep.png")
    out = tmp_path / "run" / "examples.partial"
    rows = [row(1, "train", image="deep.png"), row(2, "test", image="deep.png", patient="p2")]
    first, second = load(write_rows(tmp_path / "d.jsonl", rows), out)
    assert first.images == second.images
    assert first.images[0].path == f"examples/blobs/{first.images[0].sha256}.png"
    out.rename(tmp_path / "run" / "examples")
    pixels = read_array(first.images[0].locate(tmp_path / "run"))
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_splits_by_patient_keep_a_patient_together(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 60)
    rows = [row(patient, "train") for patient in range(1, 61) for _ in range(2)]
    for entry in rows:
        del entry["split"]
    examples = load(write_rows(tmp_path / "d.jsonl", rows), tmp_path, split="by_patient")
    assert {example.split for example in examples} == {"train", "validation", "test"}
    assert all(a.split == b.split for a, b in zip(examples[::2], examples[1::2], strict=True))
    with pytest.raises(DataError, match=r"d\.jsonl:1:split: no 'split'; expected train, validation or test"):
        load(tmp_path / "d.jsonl", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "images/p9.png"}, r"d\.jsonl:2:image: .*p9\.png: no such file; expected an image; check the path"),
        ({"question": " "}, r"d\.jsonl:2:question: question = ' '; expected text that is not empty"),
        ({"split": "valid"}, r"d\.jsonl:2:split: split = 'valid'; expected Input should be 'train', 'validation'"),
        ({"anwser": "x"}, r"d\.jsonl:2:anwser: unknown key 'anwser'; expected a known key; did you mean 'answer'"),
        ({"images": ["images/p1.png"]}, r"d\.jsonl:2:image: both image and images; expected one of the two"),
        ({"question": "<image> <image> what?"}, r"2 <image> in the question, 1 image; expected none, or one for each"),
        ({"choices": ["a", "b"]}, r"d\.jsonl:2:answer: answer = 'No'; expected one of the choices 'a', 'b'"),
        ({"regions": [{"box": [0, 0, 17, 2]}]}, r"regions\.0: box: \[0, 0, 17, 2\]; expected a box inside the image's"),
        ({"regions": [{"box": [0, 0, 2, 13]}]}, r"regions\.0: box: \[0, 0, 2, 13\]; expected a box inside the image's"),
        ({"regions": [{"box": [4, 0, 2, 2]}]}, r"d\.jsonl:2:regions\.0\.box: .*expected \[left, top, right, bottom\]"),
        ({"regions": [{"lable": "x"}]}, r"d\.jsonl:2:regions\.0\.lable: .*did you mean 'label'"),
        ({"regions": [{"label": "x"}]}, r"d\.jsonl:2:regions\.0: neither box nor mask"),
        (
            {"facts": [{"finding": "x", "image": 1}]},
            r"d\.jsonl:2:facts\.0\.image: image = 1; expected an index below 1",
        ),
        ({"regions": [{"mask": "none.png"}]}, r"d\.jsonl:2:regions\.0: .*none\.png: no such file"),
        ({"regions": [{"mask": "small.png"}]}, r"regions\.0: mask: 3 x 2 pixels; expected the image's 16 x 12"),
        ({"regions": [{"box": [0, 0, 2, 2], "image": 1}]}, r"regions\.0\.image: image = 1; expected an index below 1"),
    ],
)
def test_a_bad_row_is_named_by_file_row_and_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder_of_images(tmp_path, 1)
    write_image(tmp_path / "small.png", seed=0, height=2, width=3)
    file = write_rows(tmp_path / "d.jsonl", [row(1, "train"), row(1, "train", **change)])
    with pytest.raises(DataError, match=message):
        load(file, tmp_path)


def test_a_line_that_is_not_json_and_a_missing_file(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "d.jsonl", ['{"image": ', "[1]"])
    with pytest.raises(DataError, match=r"d\.jsonl:1: .*expected JSON; mend or remove the line"):
        load(file, tmp_path)
    with pytest.raises(DataError, match=r"d\.jsonl:1: a list; expected a JSON object"):
        load(write_rows(tmp_path / "d.jsonl", ["[1]"]), tmp_path)
    with pytest.raises(DataError, match="no such file; expected a JSONL or CSV file of rows"):
        load(tmp_path / "none.jsonl", tmp_path)


def test_a_table_says_the_same_as_json_lines(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 1)
    (tmp_path / "d.csv").write_text(
        "image,question,answer,split,patient,choices,regions\n"
        'images/p1.png,"Where, exactly?",left,test,p1,left|right,"[{""box"": [0, 0, 2, 2]}]"\n'
        "images/p1.png,Is it there?,yes,test,p1,,\n"
    )
    first, second = load(tmp_path / "d.csv", tmp_path)
    assert (first.id, first.question, first.choices) == ("d-000002", "Where, exactly?", ("left", "right"))
    assert first.regions[0].box == (0, 0, 2, 2)
    assert (second.choices, second.regions) == (("yes", "no"), ())
