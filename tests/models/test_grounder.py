from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import GroundingDinoProcessor, Owlv2Processor, OwlViTForObjectDetection, OwlViTProcessor

from medpref.errors import ModelError
from medpref.models.fingerprint import fingerprint
from medpref.models.grounder import Grounder, load_grounder

from .tiny_grounders import DINO, KINDS, build

FILM = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8))
ORACLES = {"owlvit": OwlViTProcessor, "owlv2": Owlv2Processor, **dict.fromkeys(DINO, GroundingDinoProcessor)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("grounders")
    return {kind: build(kind, root / kind) for kind in KINDS}


@pytest.mark.parametrize("kind", list(ORACLES))
def test_boxes_are_those_of_transformers_own_processor(kind: str, folders: dict[str, Path]) -> None:
    held = load_grounder(str(folders[kind]))
    processor = ORACLES[kind](image_processor=held.image_processor, tokenizer=held.tokenizer)
    dino = kind in DINO
    given = processor(text="left mass." if dino else [["left mass"]], images=FILM.convert("RGB"), return_tensors="pt")
    with torch.no_grad():
        out = held.model(**given)
    told = {"text_threshold": 0.0, "input_ids": given["input_ids"]} if dino else {}
    (theirs,) = processor.post_process_grounded_object_detection(out, threshold=0.0, target_sizes=[(40, 60)], **told)
    ours = [box for box in held.boxes(FILM, "left mass") if wide(box.corners)]
    clipped = theirs["boxes"].clamp(torch.zeros(4), torch.tensor([60.0, 40.0, 60.0, 40.0]))
    kept = torch.tensor([wide(corners) for corners in clipped.tolist()])
    order = theirs["scores"][kept].argsort(descending=True)
    assert len(ours) == int(kept.sum()) > 0
    assert [box.score for box in ours] == pytest.approx(theirs["scores"][kept][order].tolist(), abs=1e-5)
    assert torch.allclose(torch.tensor([ours[0].corners]), clipped[kept][order[:1]], atol=1e-3)


def wide(corners: Sequence[float]) -> bool:
    """Over a hundredth of a pixel: float32 and float64 agree that it is a box."""
    left, top, right, bottom = corners
    return right - left > 0.01 and bottom - top > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_another_phrase_gives_other_scores_and_the_same_phrase_the_same(kind: str, folders: dict[str, Path]) -> None:
    held = load_grounder(str(folders[kind]))
    read = held.heat if held.draws else lambda image, phrase: np.array([box.score for box in held.boxes(image, phrase)])
    first, again, other = (read(FILM, phrase) for phrase in ("left mass", "left mass", "heart"))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:3], other[:3])
    assert 0 <= first.min() <= first.max() <= 1


def model_that_says(family: str, boxes: list[list[float]], logits: list[float]) -> Grounder:
    """A detector with these normalised boxes (centre, size) and logits, whatever it is shown."""

    class Model:
        config = SimpleNamespace(text_config=SimpleNamespace(max_position_embeddings=16))

        def parameters(self):
            yield torch.zeros(1)

        def __call__(self, **_):
            return SimpleNamespace(pred_boxes=torch.tensor([boxes]), logits=torch.tensor(logits)[None, :, None])

    words = {"input_ids": [[1]], "attention_mask": [[1]]}
    return Grounder(Model(), lambda *_, **__: words, lambda *_, **__: {"pixel_values": [[0.0]]}, family, "made up")


def test_boxes_by_hand_on_a_wide_film() -> None:
    one, two = [0.5, 0.5, 0.5, 0.5], [0.9, 0.5, 0.4, 0.2]
    found = model_that_says("owlvit", [one, two], [0.0, 2.0]).boxes(FILM, "x")
    assert [box.score for box in found] == pytest.approx([1 / (1 + np.exp(-2)), 0.5])
    assert found[0].corners == pytest.approx((42, 16, 60, 24))  # cut at the film's right edge
    assert found[1].corners == pytest.approx((15, 10, 45, 30))
    # OWLv2 pads the film to a square of 60 x 60 before it looks
    padded = model_that_says("owlv2", [one, [0.5, 0.9, 0.2, 0.2]], [0.0, 1.0]).boxes(FILM, "x")
    assert [box.corners for box in padded] == [pytest.approx((15, 15, 45, 40))]


def test_what_is_no_detector_is_named(tmp_path: Path) -> None:
    for absent in (str(tmp_path / "nothing"), "nothing", "~/nothing/at/all"):
        with pytest.raises(ModelError, match="no such folder; expected a checkpoint's folder or a hub id"):
            load_grounder(absent)
    with pytest.raises(ModelError, match="safetensors"):
        load_grounder(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match=r"model of type 'bert'.*owlvit"):
        load_grounder(str(tmp_path))


def test_a_checkpoint_with_parts_missing_or_cut_short_is_named(tmp_path: Path) -> None:
    encoders, whole = tmp_path / "encoders", build("owlvit", tmp_path / "whole")
    build("owlvit", encoders)
    OwlViTForObjectDetection.from_pretrained(encoders).owlvit.save_pretrained(encoders)
    with pytest.raises(ModelError, match=r"parameters without weights, such as box_head.*not of its encoders alone"):
        load_grounder(str(encoders))
    weights = whole / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="safetensors weights; check the folder"):
        load_grounder(str(whole))


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_saved_in_bfloat16_is_read_in_float32(kind: str, tmp_path: Path) -> None:
    """Images are float32; what is found is what the rounded weights find."""
    half, held = build(kind, tmp_path / "half"), load_grounder(str(build(kind, tmp_path / "whole")))
    with torch.no_grad():
        for weights in held.model.parameters():
            weights.copy_(weights.bfloat16())
    deepcopy(held.model).bfloat16().save_pretrained(half)
    assert '"bfloat16"' in (half / "config.json").read_text()
    read = load_grounder(str(half))
    if held.draws:
        assert np.array_equal(read.heat(FILM, "left mass"), held.heat(FILM, "left mass"))
    else:
        assert read.boxes(FILM, "left mass") == held.boxes(FILM, "left mass") != []


def test_a_hub_prefix_is_taken_off(folders: dict[str, Path]) -> None:
    prefixed, plain = (load_grounder(f"{prefix}{folders['clipseg']}") for prefix in ("hf:", ""))
    assert prefixed.mark == plain.mark == fingerprint(str(folders["clipseg"]))[:8]
