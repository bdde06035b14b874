"""Localizers that ask a model: a text-prompted detector, and the policy itself."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from PIL import Image

from medpref.curation.builder import parse_builder
from medpref.curation.concept import concept_phrase
from medpref.curation.localized import require_models, signature
from medpref.curation.policy_saliency import Bound, PolicySaliency, lend
from medpref.curation.segmenter import Segmenter
from medpref.errors import ModelError, RecipeError
from medpref.imaging.decode import encode_png, to_array
from medpref.imaging.heatmap import enlarge
from medpref.imaging.regions import area, region_array
from medpref.models import grounder
from medpref.models.generate import Request, generate
from medpref.models.grounder import Box
from medpref.models.policy import load_policy
from medpref.registry import LOCALIZERS, SOURCES
from medpref.schema import Example, ImageRef, OwnReply
from tests.models.tiny_grounders import build

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)
REF = ImageRef(path="a.png", sha256="a" * 64)


def asked(question: str, answer: str, *, images: tuple[ImageRef, ...] = (REF,)) -> Example:
    return Example(id="e", patient="p", images=images, question=question, answer=answer, split="train")


@pytest.mark.parametrize(
    ("question", "answer", "phrase"),
    [
        ("Is there any abnormality in the liver?", "Yes", "liver"),
        ("Is the heart enlarged?", "No", None),
        ("Is the heart dilated?", "No", None),
        ("Is the heart dilated?", "Yes", "dilated heart"),
        ("Is the lung mass calcified?", "No", "lung mass"),
        ("Which view is this chest X-ray?", "PA", None),
        ("Is this a CT of the chest?", "Yes", "chest"),
        ("Does the mass enhance?", "No", "mass"),
        ("Is there a pleural effusion?", "Yes", "pleural effusion"),
        ("Is there a pleural effusion?", "No", None),
        ("Is this a normal image?", "No", None),
        ("Are the lungs clear?", "No", "consolidation"),
        ("What is abnormal?", "Left pleural effusion", "left pleural effusion"),
        ("What is abnormal?", "No pneumothorax", None),
        ("What is abnormal?", "None", None),
        ("On which side is the nodule?", "Left", "nodule"),
        ("Where is the mass?", "right lung", "mass"),
        ("Which organ is it?", "right kidney", "right kidney"),
        ("Is there consolidation in the right upper zone?", "Yes", "right upper consolidation"),
        ("Which view is this?", "PA", None),
        ("How is the abnormality?", "Large", None),
    ],
)
def test_the_phrase_to_look_for(question: str, answer: str, phrase: str | None) -> None:
    assert concept_phrase(asked(question, answer)) == phrase


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        ("Zebra spots", "zebra spots"),
        ("zebra spots of the lung, rare", "zebra spots of the lung"),
        ("Yes", None),
        ("There are zebra spots wherever one looks in the lung.", "lung"),
    ],
)
def test_an_abnormality_outside_the_lexicon_is_looked_for_by_name(answer: str, phrase: str | None) -> None:
    example = asked("What is seen?", answer)
    assert concept_phrase(example.model_copy(update={"kind": "abnormality"})) == phrase
    assert concept_phrase(example) == ("lung" if "lung" in answer else None), "of another kind, organs alone"


class Made:
    """A detector with boxes of our own, or a segmenter with a map of our own."""

    family, mark = "made", "1a2b"

    def __init__(self, boxes: list[Box] | None = None, heat: np.ndarray | None = None) -> None:
        self.draws, self._boxes, self._heat = heat is not None, boxes, heat

    def boxes(self, image: Any, phrase: str) -> list[Box]:
        assert phrase == "pleural effusion"
        return self._boxes or []

    def heat(self, image: Any, phrase: str) -> Any:
        return self._heat


YES = asked("Is there a pleural effusion?", "Yes")


def test_boxes_over_the_threshold_become_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [Box((1.2, 2.0, 9.5, 8.0), 0.8), Box((20.0, 20.0, 30.0, 30.0), 0.5), Box((0.0, 0.0, 5.0, 5.0), 0.1)]
    monkeypatch.setattr(grounder, "load_grounder", lambda source: Made(boxes))
    (first,) = Segmenter(model="m").locate(YES, IMAGE)
    assert (first.box, first.confidence, first.label, first.image) == ((1, 2, 10, 8), 0.8, "pleural effusion", 0)
    assert first.origin == "segmenter made~1a2b: score >= 0.2, covers 0.0225"  # 9 x 6 of 60 x 40 pixels
    assert len(Segmenter(model="m", top=3).locate(YES, IMAGE, index=0)) == 2
    assert Segmenter(model="m", top=3, threshold=0.05).locate(YES, IMAGE)[2].box == (0, 0, 5, 5)
    assert Segmenter(model="m", threshold=0.9).locate(YES, IMAGE) == ()
    assert Segmenter(model="m", max_share=0.01).locate(YES, IMAGE) == ()
    assert Segmenter(model="m").locate(asked("Is there a pleural effusion?", "No"), IMAGE) == ()
    (instead,) = Segmenter(model="m", threshold=0.9, fallback="whole_image").locate(YES, IMAGE)
    assert instead.box == (0, 0, 60, 40)
    assert "whole_image instead" in instead.origin


def test_a_map_becomes_a_mask_of_its_confident_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    heat = np.zeros((4, 6))
    heat[1, 2] = 1.0
    monkeypatch.setattr(grounder, "load_grounder", lambda source: Made(heat=heat))
    (found,) = Segmenter(model="m", threshold=0.5).locate(YES, IMAGE)
    inside = region_array([found], 40, 60)
    assert inside[15, 25]
    assert found.origin == f"segmenter made~1a2b: score >= 0.5, covers {inside.mean():.4f}"
    assert 0.5 <= found.confidence <= 1
    assert 0.01 < inside.mean() < 0.08
    assert Segmenter(model="m", threshold=1.0).locate(asked("Which view?", "PA"), IMAGE) == ()
    monkeypatch.setattr(grounder, "load_grounder", lambda source: Made(heat=np.zeros((4, 6))))
    assert Segmenter(model="m").locate(YES, IMAGE) == ()


@pytest.mark.parametrize("kind", ["owlvit", "clipseg"])
def test_a_saved_checkpoint_is_asked(kind: str, tmp_path: Path) -> None:
    """Its best box, or its pixels over the threshold; over its highest score there is nothing."""
    folder = str(build(kind, tmp_path))
    held, shown = grounder.load_grounder(folder), Image.fromarray(IMAGE)
    heat = enlarge(held.heat(shown, "pleural effusion"), IMAGE) if held.draws else np.zeros(IMAGE.shape)
    best = float(heat.max()) if held.draws else held.boxes(shown, "pleural effusion")[0].score
    told = {"kind": "segmenter", "model": folder, "threshold": best - 1e-4, "max_share": 1.0}
    own = LOCALIZERS.parse(told, where="test")
    (found,) = own.locate(YES, IMAGE)
    assert (found,) == own.locate(YES, IMAGE)
    assert found.origin.startswith(f"segmenter {kind}~{held.mark}")
    assert found.confidence == pytest.approx(best, abs=1e-4)
    if held.draws:
        assert np.array_equal(region_array([found], 40, 60), heat >= best - 1e-4)
    else:
        left, top, right, bottom = held.boxes(shown, "pleural effusion")[0].corners
        assert found.box == (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    assert LOCALIZERS.parse({**told, "threshold": (best + 1) / 2}, where="test").locate(YES, IMAGE) == ()


def bound(**fields: Any) -> Bound:
    return Bound(PolicySaliency(**fields), lambda: None, Path())


def planted(monkeypatch: pytest.MonkeyPatch, heat: np.ndarray | None) -> list[dict[str, Any]]:
    """Maps of our own in place of a policy's; what was asked for is returned."""
    calls: list[dict[str, Any]] = []

    def made(policy: Any, images: Any, question: str, reply: str, *, index: int, of: str) -> Any:
        calls.append({"images": [np.asarray(one) for one in images], "reply": reply, "index": index, "of": of})
        return heat

    monkeypatch.setattr("medpref.models.saliency.saliency", made)
    return calls


def test_the_hot_part_of_the_map_is_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    heat = np.full((4, 6), 0.1)
    heat[0, 0] = 5.0
    calls = planted(monkeypatch, heat)
    (found,) = bound(quantile=0.9).locate(YES, IMAGE)
    inside = region_array([found], 40, 60)
    assert inside[2, 2]
    assert not inside[20:].any()
    assert inside.mean() <= 0.1
    assert found.origin == f"policy_saliency of features: quantile 0.9, covers {inside.mean():.4f}"
    assert 0.5 < found.confidence <= 1, "most of the map lies there"
    assert calls[0]["reply"] == "Yes"
    assert np.array_equal(calls[0]["images"][0], IMAGE)
    (wider,) = bound(quantile=0.9, dilate_px=3.0).locate(YES, IMAGE)
    assert area(region_array([wider], 40, 60)) > inside.sum()
    assert bound(quantile=0.9, max_share=0.01).locate(YES, IMAGE) == ()


def test_the_policys_own_reply_is_asked_for_where_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from the run's replies where they hold it, else generated; an empty one gives nothing."""
    calls = planted(monkeypatch, np.eye(4))
    monkeypatch.setattr(
        "medpref.models.generate.generate", lambda policy, asked, **_: iter([[SimpleNamespace(text=" By itself ")]])
    )
    own = PolicySaliency(reply="own")
    said = {"e": OwnReply(example="e", text="No effusion", log_probs=())}
    Bound(own, lambda: None, Path(), said).locate(YES, IMAGE)
    Bound(own, lambda: None, Path()).locate(YES, IMAGE)
    bound().locate(YES, IMAGE)
    assert [call["reply"] for call in calls] == ["No effusion", "By itself", "Yes"]
    silent = {"e": said["e"].model_copy(update={"text": " "})}
    assert Bound(own, lambda: None, Path(), silent).locate(YES, IMAGE) == ()
    assert len(calls) == 3


def test_the_own_reply_is_that_of_greedy_decoding() -> None:
    """What is generated for one example is what the run's own replies would hold: the two give one region."""
    policy = load_policy("tiny:llava-mistral")
    film = np.random.default_rng(3).integers(0, 255, (64, 64), dtype=np.uint8)
    (answer,) = generate(policy, [Request("x", (Image.fromarray(film),), YES.question)], max_new_tokens=96)
    said = {"e": OwnReply(example="e", text=answer[0].text, log_probs=())}
    own = PolicySaliency(reply="own")
    first, second = (Bound(own, lambda: policy, Path(), held).locate(YES, film) for held in ({}, said))
    assert first == second != ()


def test_a_flat_map_shows_nothing_and_no_grid_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, np.ones((4, 4)))
    assert bound().locate(YES, IMAGE) == ()
    (instead,) = bound(fallback="whole_image").locate(YES, IMAGE)
    assert instead.box == (0, 0, 60, 40)
    planted(monkeypatch, None)
    tiled = Bound(PolicySaliency(), lambda: type("Policy", (), {"spec": "tiled"})(), Path())
    with pytest.raises(ModelError, match="form no grid"):
        tiled.locate(YES, IMAGE)


def test_of_several_images_the_others_are_read_and_this_one_is_as_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "b.png").write_bytes(encode_png(np.full((8, 8), 7, dtype=np.uint8)))
    heat = np.zeros((4, 4))
    heat[2, 2] = 1.0
    calls = planted(monkeypatch, heat)
    both = asked("Better?", "No", images=(ImageRef(path="b.png", sha256="b" * 64), REF))
    (found,) = Bound(PolicySaliency(), lambda: None, tmp_path).locate(both, IMAGE, index=1)
    assert found.image == calls[0]["index"] == 1
    assert [one.shape for one in calls[0]["images"]] == [(8, 8), (40, 60)]


def test_a_named_policy_reads_the_other_images_from_the_run_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not from where the command was started."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "b.png").write_bytes(encode_png(np.full((8, 8), 7, dtype=np.uint8)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medpref.curation.policy_saliency._named", lambda spec: spec)
    calls = planted(monkeypatch, np.eye(4))
    told = {"kind": "policy_saliency", "policy": "tiny:llava-mistral"}
    plain = parse_builder({"chosen": {"kind": "reference"}, "localize": told, "corrupt": {"kind": "blackout"}}, "test")
    both = asked("Better?", "No", images=(ImageRef(path="b.png", sha256="b" * 64), REF))
    assert lend(plain, None, tmp_path / "run").localize.locate(both, IMAGE, index=1)
    assert [one.shape for one in calls[0]["images"]] == [(8, 8), (40, 60)]


def test_a_builder_is_lent_the_runs_policy() -> None:
    config = {
        "chosen": {"kind": "reference"}, "localize": {"kind": "policy_saliency"}, "corrupt": {"kind": "blackout"},
    }  # fmt: skip
    plain = parse_builder(config, "test")
    assert plain.localize.kind == lend(plain, lambda: "p", Path()).localize.kind == "policy_saliency"
    assert lend(plain, lambda: "p", Path()).localize.load() == "p"
    own = {"e": OwnReply(example="e", text="No", log_probs=())}
    assert lend(plain, "p", Path("r"), said=own).localize == Bound(plain.localize, ANY, Path("r"), own)
    with pytest.raises(RecipeError, match="a policy to ask"):
        lend(plain, None, Path())
    with pytest.raises(RecipeError, match="no policy"):
        plain.localize.locate(YES, IMAGE)
    named = parse_builder({**config, "localize": {"kind": "policy_saliency", "policy": "tiny:x"}}, "test")
    other = lend(named, "p", Path("r"), said=own).localize
    assert other == Bound(named.localize, ANY, Path("r"), {}), "the run's policy said those, not this one"
    assert json.loads(named.localize.model_dump_json())["policy"] == "tiny:x"


def test_the_models_that_localizers_name_are_marked_by_their_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = build("clipseg", tmp_path)
    segmenter = {"localize": {"kind": "segmenter", "model": str(folder)}}
    named = {"localize": {"kind": "policy_saliency", "policy": "tiny:llava-mistral"}}
    before = signature([named, segmenter, segmenter, {"localize": "whole_image"}, {}])
    assert [one.rpartition("~")[0] for one in before] == [str(folder), "tiny:llava-mistral"]
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    after = signature([segmenter, named])
    assert after[0] != before[0]
    assert after[1] == before[1]
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    home = {"localize": {**segmenter["localize"], "model": f"~/{tmp_path.name}"}}
    (same,) = signature([home])
    assert same.rpartition("~")[2] == after[0].rpartition("~")[2], "its files, not its name"
    require_models([{"localize": {"kind": "policy_saliency", "policy": f"~/{tmp_path.name}"}}])
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert signature([home]) != [same]


def test_a_model_that_cannot_be_meant_is_named() -> None:
    wrong = [
        ({"kind": "policy_saliency", "policy": "tiny:llava"}, r"localize.policy tiny:llava: .*did you mean"),
        ({"kind": "policy_saliency", "policy": "/nowhere"}, r"localize.policy /nowhere: no such folder"),
        ({"kind": "policy_saliency", "policy": "hf:~/nowhere"}, r"localize.policy hf:~/nowhere: no such folder"),
        ({"kind": "segmenter", "model": "hf:nowhere"}, r"localize.model hf:nowhere: no such folder"),
        ({"kind": "segmenter", "model": "~nobody-here/x"}, r"localize.model ~nobody-here/x: no such folder"),
    ]
    for localize, told in wrong:
        for read in (signature, require_models):
            with pytest.raises(ModelError, match=told):
                read([{"localize": localize}])
    require_models([{"localize": {"kind": "mine", "model": "weights.bin"}}, {"localize": "whole_image"}, {}])


def test_on_phantom_films_the_shipped_base_is_hot_where_the_lesion_is(tmp_path: Path) -> None:
    spec = {"kind": "phantom", "studies": 24, "validation": 0, "test": 0, "size_px": 128, "questions": ["side", "zone"]}
    examples = list(SOURCES.parse(spec, where="test").load(tmp_path / "examples", seed=5, prefix="examples"))
    lesions = [one for one in examples if one.regions and one.answer != "None"][:24]
    own = PolicySaliency(policy="tiny:llava-mistral")
    shares, areas = [], []
    for example in lesions:
        array = to_array(_read(example, tmp_path))
        inside = region_array(example.regions, *array.shape[:2])
        hot = region_array(own.locate(example, array), *array.shape[:2])
        shares.append(inside[hot].mean())
        areas.append(inside.mean())
    assert len(lesions) >= 15
    assert np.mean(shares) > 1.8 * np.mean(areas), "hot pixels lie in the lesion more often than by chance"


def _read(example: Example, root: Path) -> Any:
    from medpref.imaging.decode import read_image

    return read_image(example.images[0].locate(root))
