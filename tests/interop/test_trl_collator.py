"""What we export, read by TRL's own collator for vision preference data."""

from pathlib import Path

import pytest

from medpref.interop.convert import convert
from tests.interop.made_up import pair, pairs_file


@pytest.mark.parametrize("name", ["trl", "trl_dataset"])
def test_trl_reads_an_exported_folder_as_we_meant_it(tmp_path: Path, name: str) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    collators = pytest.importorskip("trl.trainer.dpo_trainer", reason="needs trl")
    from transformers import LlavaProcessor

    from medpref.models.policy import load_policy

    two = pair(tmp_path / "img", 1).views["clean"] + pair(tmp_path / "img", 2).views["clean"]
    held = [pair(tmp_path / "img", 0), pair(tmp_path / "img", 1, views={"clean": two})]
    convert(f"pairs:{pairs_file(tmp_path / 'run', held)}", f"{name}:{tmp_path / 'out'}")
    if name == "trl":
        rows = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
        rows = rows["train"]
    else:
        rows = datasets.load_from_disk(str(tmp_path / "out"))
    still = load_policy("tiny:llava-mistral@random").processor
    named = ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens", "image_token")
    fields = {key: still.fields[key] for key in named}
    parts = {"image_processor": still.image_processor, "tokenizer": still.tokenizer}
    processor = LlavaProcessor(**parts, chat_template=still.chat_template, **fields)
    batch = collators.DataCollatorForVisionPreference(processor)([rows[0], rows[1]])
    assert len(batch["pixel_values"]) == 6, "three images, once for each reply"
    read = []
    for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True):
        read.append(processor.tokenizer.decode(ids[mask.bool()], skip_special_tokens=True).strip())
    assert read == ["The lung is clear."] * 2 + ["The lung is full of it."] * 2
    asked = processor.tokenizer.decode(batch["input_ids"][0], skip_special_tokens=True)
    assert "Is there a made-up shadow?" in asked
