"""One row of each peer by hand, and what its reader refuses."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medpref.errors import DataError
from medpref.interop.mmedpo import noise_like
from medpref.interop.pair import Dropped
from medpref.schema import PreferencePair
from tests.interop.made_up import image, png, read, write_json

ASK = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is it?"}]}


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


TRL: dict[str, Any] = {"images": ["a.png"], "prompt": [ASK], "chosen": said("No"), "rejected": said("Yes")}
LLAMA: dict[str, Any] = {
    "conversations": [{"from": "human", "value": "<image>Is it?"}],
    "chosen": {"from": "gpt", "value": "No"},
    "rejected": {"from": "gpt", "value": "Yes"},
    "images": ["a.png"],
}
SWIFT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "<image>Is it?"}, {"role": "assistant", "content": "No"}],
    "images": ["a.png"],
    "rejected_response": "Yes",
}
MMEDPO: dict[str, Any] = {
    "id": 7,
    "image": "a.png",
    "conversations": [{"from": "human", "value": "<image>\nIs it?"}, {"from": "gpt", "value": " No"}],
    "rejected_conversations": [{"from": "human", "value": "<image>\nIs it?"}, {"from": "gpt", "value": "Yes"}],
    "weighted_score": 0.8,
}
RRPO: dict[str, Any] = {
    "question": "<image>\nIs it?",
    "image": "a.png",
    "answer": "No",
    "pred": "Yes, it is.",
    "answer_masked": "<MASK> No </MASK>",
    "pred_masked": "<MASK> Yes, </MASK> it <MASK>is</MASK>.",
    "sample_id": 3,
}
ROWS = {"trl": TRL, "llamafactory": LLAMA, "swift": SWIFT, "mmedpo": MMEDPO, "rrpo": RRPO}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image(tmp_path, "a.png", 1)
    image(tmp_path, "b.png", 2)
    return tmp_path


def first(name: str, folder: Path, row: dict[str, Any]) -> PreferencePair | Dropped:
    return read(name, write_json(folder / "rows.json", [row]))[0]


@pytest.mark.parametrize("name", sorted(ROWS))
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_row_of_each_format_says_the_same(folder: Path, name: str, suffix: str) -> None:
    (only,) = read(name, write_json(folder / f"rows{suffix}", [ROWS[name]]))
    assert isinstance(only, PreferencePair)
    assert only.question == "Is it?"
    assert (only.replies["chosen"].text, only.kind) == ("No", "text")
    assert only.replies["rejected"].text in ("Yes", "Yes, it is.")
    assert [held.path for held in only.views["clean"]] == [str((folder / "a.png").resolve())]
    assert set(only.views) == {"clean"}
    assert only.weight == (0.8 if name == "mmedpo" else 1.0)
    assert only.patient.startswith("image:")
    assert only.provenance["format"] == name


def test_trl_in_its_other_spellings(folder: Path) -> None:
    plain = {"image": "a.png", "prompt": "<image>\nIs it?", "chosen": "No", "rejected": "Yes"}
    implicit = {
        "images": ["a.png"],
        "chosen": [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "No"}],
        "rejected": [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "Yes"}],
    }
    rlaif = {"image": {"bytes": None, "path": "a.png"}, "question": "Is it?", "chosen": "No", "rejected": "Yes"}
    found = read("trl", write_json(folder / "r.jsonl", [plain, implicit, rlaif]))
    assert [one.question for one in found if isinstance(one, PreferencePair)] == ["Is it?"] * 3
    assert len({str(one.replies) for one in found if isinstance(one, PreferencePair)}) == 1
    assert [one.id for one in found if isinstance(one, PreferencePair)] == ["r-000001", "r-000002", "r-000003"]


def test_images_inside_a_parquet_file_and_a_saved_dataset(folder: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    rows = [{**TRL, "images": [{"bytes": png(n), "path": None}]} for n in range(3)]
    held = datasets.Dataset.from_list(rows)
    held.to_parquet(str(folder / "train.parquet"))
    held.save_to_disk(str(folder / "saved"))
    for path in (folder / "train.parquet", folder / "saved"):
        found = read("trl", path)
        kept = [one.views["clean"][0].locate(folder / "read") for one in found if isinstance(one, PreferencePair)]
        assert [file.read_bytes() for file in kept] == [png(n) for n in range(3)]


def test_a_folder_of_llama_factory_is_read_by_its_dataset_info(folder: Path) -> None:
    renamed = {"dialogue": LLAMA["conversations"], "good": LLAMA["chosen"], "bad": LLAMA["rejected"], "pics": ["a.png"]}
    write_json(folder / "ours.json", [renamed])
    write_json(folder / "plain.json", [LLAMA])
    columns = {"messages": "dialogue", "chosen": "good", "rejected": "bad", "images": "pics"}
    info = {
        "sft": {"file_name": "none.json"},
        "ours": {"file_name": "ours.json", "ranking": True, "columns": columns},
        "plain": {"file_name": "plain.json", "ranking": True, "formatting": "sharegpt"},
    }
    write_json(folder / "dataset_info.json", info)  # type: ignore[arg-type]
    found = read("llamafactory", folder)
    assert [one.id for one in found if isinstance(one, PreferencePair)] == ["ours-000001", "plain-000001"]
    write_json(folder / "dataset_info.json", {"sft": {"file_name": "plain.json"}})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="1 entries; expected an entry with ranking true"):
        read("llamafactory", folder)


def test_swift_images_on_the_rejected_side(folder: Path) -> None:
    bare = {key: value for key, value in SWIFT.items() if key != "rejected_response"}
    rows = [
        {**SWIFT, "rejected_images": ["b.png"]},
        {**bare, "rejected_images": ["b.png"]},
        {**SWIFT, "rejected_images": ["a.png"]},
        {**bare, "rejected_messages": [*SWIFT["messages"][:1], {"role": "assistant", "content": "Yes"}]},
        {**bare, "rejected_images": ["a.png"]},
    ]
    joint, visual, same, messages, nothing = read("swift", write_json(folder / "r.json", rows))
    assert isinstance(joint, PreferencePair)
    assert (set(joint.views), set(joint.replies), joint.kind) == ({"clean", "corrupt"}, {"chosen", "rejected"}, "joint")
    assert joint.views["corrupt"][0].path.endswith("b.png")
    assert isinstance(visual, PreferencePair)
    assert (set(visual.views), set(visual.replies), visual.kind) == ({"clean", "corrupt"}, {"chosen"}, "image")
    assert isinstance(same, PreferencePair)
    assert (set(same.views), same.kind) == ({"clean"}, "text"), "the same image is no corrupt view"
    assert isinstance(messages, PreferencePair)
    assert messages.replies["rejected"].text == "Yes"
    assert nothing == Dropped("r-000005", "chosen and rejected are the same text about the same image")


def test_mmedpo_images_and_flags(folder: Path) -> None:
    visual = {**MMEDPO, "rejected_conversations": MMEDPO["conversations"], "rejected_image": "b.png"}
    noised = {**MMEDPO, "rejected_noised": 1, "chosen_noised": 0, "rejected_image": "b.png"}
    equal = {**MMEDPO, "rejected_conversations": MMEDPO["conversations"]}
    one, two, three = read("mmedpo", write_json(folder / "r.json", [visual, noised, equal]))
    assert isinstance(one, PreferencePair)
    assert (set(one.replies), one.kind, one.weight) == ({"chosen"}, "image", 0.8)
    assert one.views["corrupt"][0].path.endswith("b.png")
    assert isinstance(two, PreferencePair)
    assert two.provenance["rejected_noised"] == 1
    noise = np.array(Image.open(two.views["corrupt"][0].locate(folder / "read")))
    assert noise.shape == (8, 9, 3)
    assert isinstance(three, Dropped)


def test_pure_noise_has_the_shares_of_the_released_loader(tmp_path: Path) -> None:
    Image.new("L", (200, 150)).save(tmp_path / "a.png")
    pixels = np.array(Image.open(io.BytesIO(noise_like(tmp_path / "a.png", id="x"))))
    assert pixels.shape == (150, 200, 3)
    assert (pixels == 0).mean() == pytest.approx(0.50, abs=0.01), "half of a centred normal is below 0"
    assert (pixels == 255).mean() == pytest.approx(0.46, abs=0.01), "P(z > 0.1) is 0.460"
    assert noise_like(tmp_path / "a.png", id="x") != noise_like(tmp_path / "a.png", id="y")


def test_rrpo_masks_become_spans(folder: Path) -> None:
    only = first("rrpo", folder, RRPO)
    assert isinstance(only, PreferencePair)
    marked = {name: [reply.text[span.start : span.end] for span in reply.spans] for name, reply in only.replies.items()}
    assert marked == {"chosen": ["No"], "rejected": ["Yes,", "is"]}
    assert only.id == "3"


SYSTEM = {"role": "system", "content": "Be brief."}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("trl", {"images": ["none.png"]}, r"rows\.json\[0\]\.images: none\.png: no file in .*; say where images lie"),
    ("trl", {"images": []}, r"rows\.json\[0\]\.images: no image; expected at least one"),
    ("trl", {"images": [3]}, r"\.images: a int; expected an image"),
    ("trl", {"prompt": [SYSTEM, ASK]}, r"\.prompt: a message of role 'system'; expected a message of user, human"),
    ("trl", {"prompt": [ASK, *said("a"), ASK]}, r"\.prompt: turns ask reply ask; expected ask; split longer"),
    ("trl", {"prompt": "<image><image>?"}, r"\.prompt: 2 <image> and 1 images; expected as many marks"),
    ("trl", {"chosen": [{"role": "assistant", "content": 3}]}, r"\.chosen: a int; expected text or parts"),
    ("trl", {"rejected": None}, r"keys .*; expected 'rejected'; check the format's name"),
    ("trl", {"prompt": " "}, r"rows\.json\[0\]: question = ''; expected String should have at least 1"),
    ("trl", {"chosen": " "}, r"reply text is empty"),
    ("trl", {"weight": "heavy"}, r"\.weight: 'heavy'; expected a number"),
    ("swift", {"rejected_response": ["a", "b"]}, r"several rejected responses; expected one text"),
    ("swift", {"rejected_response": None}, r"nothing rejected; expected a rejected side"),
    (
        "swift",
        {"rejected_messages": [{"role": "user", "content": "Else?"}, {"role": "assistant", "content": "Yes"}]},
        r"\.rejected_messages: another question; expected 'Is it\?'",
    ),
    ("mmedpo", {"weighted_score": None}, r"expected 'weighted_score' or 'weight' or 'dpo_weight'"),
    ("mmedpo", {"weighted_score": -0.5}, r"weight = -0\.5; expected Input should be greater"),
    ("mmedpo", {"weighted_score": float("nan")}, r"weight = nan; expected Input should be"),
    ("mmedpo", {"chosen_noised": 1}, r"\.chosen_noised: chosen_noised: noise on both sides"),
    ("mmedpo", {"rejected_conversations": said("x")}, r"\.rejected_conversations: turns reply; expected ask reply"),
    ("rrpo", {"video": "a.mp4"}, r"\.video: a video; expected an image; extract a frame"),
    ("rrpo", {"answer_masked": "<MASK>No"}, r"\.answer_masked: a tag left open"),
    ("rrpo", {"answer_masked": "</MASK>No"}, r"\.answer_masked: </MASK> out of turn"),
    ("rrpo", {"answer_masked": "<MASK>Nope</MASK>"}, r"\.answer_masked: '<MASK>Nope</MASK>'; expected 'No' with tags"),
    ("rrpo", {"answer_masked": "<MASK>N</MASK>"}, r"\.answer_masked: 'o' is missing"),
    ("llamafactory", {"conversations": None}, r"expected 'conversations'"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD)
def test_what_is_wrong_with_a_row_is_named(folder: Path, name: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        first(name, folder, {**ROWS[name], **change})


def test_two_questions_in_one_row_are_refused(folder: Path) -> None:
    other = [{"from": "human", "value": "Else?"}, {"from": "gpt", "value": "Yes"}]
    with pytest.raises(DataError, match="two different questions"):
        first("mmedpo", folder, {**MMEDPO, "rejected_conversations": other})
    talk = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "No"}]
    implicit = {"images": ["a.png"], "chosen": talk, "rejected": [{"role": "user", "content": "Else?"}, talk[1]]}
    with pytest.raises(DataError, match="two different questions"):
        first("trl", folder, implicit)


def test_files_that_hold_no_rows(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: no such file; expected \.json, \.jsonl, \.parquet"):
        read("trl", folder / "none.json")
    (folder / "x.json").write_text("{}")
    with pytest.raises(DataError, match=r"x\.json: a dict; expected a JSON array"):
        read("trl", folder / "x.json")
    (folder / "x.jsonl").write_text("3\n")
    with pytest.raises(DataError, match=r"x\.jsonl:1: a int; expected an object"):
        read("trl", folder / "x.jsonl")
    (folder / "x.txt").write_text("3\n")
    with pytest.raises(DataError, match=r"x\.txt: nothing that can be read"):
        read("trl", folder / "x.txt")
