"""Every registered component keeps its contract; deliberately broken ones are caught, each by its own promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import BaseModel

from medpref.arms import OWN_REPLY_WRITERS
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.mine import Pick
from medpref.errors import RecipeError
from medpref.imaging.corrupt import mask_json, mask_of, paste, stored_mask
from medpref.imaging.decode import encode_png
from medpref.imaging.localize import whole
from medpref.registry import (
    CORRUPTIONS,
    JUDGES,
    LOCALIZERS,
    MINERS,
    REGISTRIES,
    REWEIGHERS,
    SCREENS,
    SOURCES,
    TERMS,
    WRITERS,
    Registry,
)
from medpref.schema import Frozen, Region, Reply, Verdict
from medpref.testing.components import check_component, check_value
from medpref.testing.studies import HEIGHT, WIDTH, make_studies
from tests.models.tiny_grounders import build

REQUIRED: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("writer", "targeted"): [{"error": error} for error in ("side", "presence", "organ", "severity", "modality")],
    ("miner", "balanced"): [{"size": 6}, {"size": 1000, "mix": 1.0}],
    ("miner", "neighbours"): [{"size": 9}, {"size": 9, "seeds": {"kind": "balanced", "size": 4}}],
    ("judge", "panel"): [{"judges": ["relevance", "overlap"]}, {"judges": ["findings"]}],
}
"""Forms of the components that have required fields."""

FURTHER: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("corruption", "background"): [{"of": {"kind": "blackout"}}, {"of": {"kind": "shuffle_patches", "patch_px": 4}}],
    ("corruption", "diffuse"): [{"t": 999, "schedule": "linear"}],
    ("localizer", "given_regions"): [{"dilate_px": 2.0, "fallback": "whole_image"}, {"labels": ("nothing",)}],
    ("judge", "overlap"): [{"measure": "recall"}, {"measure": "precision"}],
    ("writer", "neighbour"): [{"of": "reply"}],
    ("writer", "phrases"): [{"of": {"kind": "correct", "of": "own"}}],
    ("writer", "only"): [{"reply": "chosen"}],
    ("writer", "rationale"): [{"answer": "last"}],
    ("miner", "confidence"): [{"measure": "minimum", "size": 3}, {"measure": "first", "tokens": 1}],
}


def forms(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every shipped component but terms and sources, in every form to be checked; two read files, written here."""
    given = dict(REQUIRED)
    image = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    pool = [folder / "donor0.png", folder / "donor1.png"]
    for shade, path in enumerate(pool):
        path.write_bytes(encode_png(image + 40 * (shade + 1)))
    given["corruption", "swap_image"] = [{"pool": [str(path) for path in pool]}]
    given["localizer", "heatmap_regions"] = [{"folder": str(folder)}]
    given["localizer", "policy_saliency"] = [{"policy": "tiny:llava-mistral@random"}]
    given["localizer", "segmenter"] = [{"model": str(build("owlvit", folder / "owl")), "threshold": 0.1}]
    for study in make_studies(folder).examples:
        np.save(folder / f"{study.id.replace('/', '_')}.npy", np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1)))
    found = []
    for registry in REGISTRIES:
        if registry in (TERMS, SOURCES):
            continue
        for kind, cls in registry.classes().items():
            if not cls.__module__.startswith("medpref."):
                continue
            key = (registry.noun, kind)
            plain = [] if any(f.is_required() for f in cls.model_fields.values()) or key in given else [{}]
            listed = [*plain, *given.get(key, ()), *FURTHER.get(key, ())]
            assert listed, f"no form of {registry.noun} {kind} is tested; add one to REQUIRED"
            found += [(registry.noun, {"kind": kind, **fields}) for fields in listed]
    return found


def test_every_registered_component_keeps_its_contract(tmp_path: Path) -> None:
    by_noun = {registry.noun: registry for registry in REGISTRIES}
    broken = []
    for noun, config in forms(tmp_path):
        try:
            check_component(by_noun[noun].parse(config, where="test"))
        except AssertionError as error:
            broken.append(f"{config}: {error}")
    assert not broken


def test_a_run_makes_own_replies_for_every_writer_that_cannot_do_without(tmp_path: Path) -> None:
    studies = make_studies(tmp_path)
    alone = replace(studies.context, own={})

    def writes(config: dict[str, Any], context: Context) -> bool:
        writer = WRITERS.parse(config, where="test")
        given = Draft({"chosen": Reply(text="Yes")})
        drafts = (writer.write(one, context, role="rejected", other=given) for one in studies.examples)
        return any(isinstance(draft, Draft) for draft in drafts)

    needing = {
        config["kind"]
        for noun, config in forms(tmp_path)
        if noun == "writer" and writes(config, studies.context) and not writes(config, alone)
    }
    assert needing >= {"correct", "sample", "phrases", "only"}
    assert needing <= OWN_REPLY_WRITERS


def test_sources_and_terms_are_values_too() -> None:
    from medpref.objectives import Anchor
    from medpref.sources.phantom import Phantom

    check_value(Phantom(studies=3))
    check_component(Anchor(branch="clean/chosen"))


def test_no_kind_is_used_by_two_nouns() -> None:
    kinds = [kind for registry in REGISTRIES for kind in registry.classes()]
    assert sorted(kinds) == sorted(set(kinds))


class _Corruption(Frozen):
    """Blackens the mask, correct until a subclass spoils it."""

    kind: Literal["broken"] = "broken"

    def draw(self, image: Any, regions: Any, rng: Any) -> dict[str, Any]:
        return {"kind": self.kind, "mask": mask_json(mask_of(regions, image, kind=self.kind))}

    def apply(self, image: Any, parameters: Any) -> Any:
        return paste(image, np.float64(0), stored_mask(parameters, image))


class _DrawsWhileApplying(_Corruption):
    """Noise that is not stored."""

    kind: Literal["broken"] = "broken"

    def apply(self, image: Any, parameters: Any) -> Any:
        noise = np.random.default_rng().normal(0, 40, image.shape)
        return paste(image, image + noise, stored_mask(parameters, image))


class _LeaksOut(_Corruption):
    """One pixel too many."""

    kind: Literal["broken"] = "broken"

    def apply(self, image: Any, parameters: Any) -> Any:
        out = super().apply(image, parameters)
        out[0, 0] = 255 - image[0, 0]
        return out


class _WritesIntoTheImage(_Corruption):
    """No copy."""

    kind: Literal["broken"] = "broken"

    def apply(self, image: Any, parameters: Any) -> Any:
        image[stored_mask(parameters, image)] = 0
        return image


class _StoresAnArray(_Corruption):
    """A mask that is no JSON."""

    kind: Literal["broken"] = "broken"

    def draw(self, image: Any, regions: Any, rng: Any) -> dict[str, Any]:
        return {**super().draw(image, regions, rng), "sigma": float("nan")}


class _ReadsItself(_Corruption):
    """A value that is not among the stored parameters."""

    kind: Literal["broken"] = "broken"
    grey: int = 0

    def apply(self, image: Any, parameters: Any) -> Any:
        return paste(image, np.float64(self.grey), stored_mask(parameters, image))


class _Localizer(Frozen):
    """A region outside the image."""

    kind: Literal["broken"] = "broken"

    def locate(self, example: Any, image: Any, *, index: int = 0) -> Any:
        return (Region(box=(0, 0, 10_000, 10)),)


class _ListLocalizer(Frozen):
    """A list."""

    kind: Literal["broken"] = "broken"

    def locate(self, example: Any, image: Any, *, index: int = 0) -> Any:
        return list(whole(image, index=index, origin="x"))


class _Writer(Frozen):
    """Refuses and does not say why."""

    kind: Literal["broken"] = "broken"
    both: ClassVar[bool] = False

    def write(self, example: Any, context: Any, *, role: str, other: Any) -> Any:
        return Refused(" ")


class _WrongRole(_Writer):
    """Writes what was not asked for."""

    kind: Literal["broken"] = "broken"

    def write(self, example: Any, context: Any, *, role: str, other: Any) -> Any:
        return Draft({"chosen": Reply(text="Yes")})


class _Moody(_Writer):
    """Another text every time."""

    kind: Literal["broken"] = "broken"
    said: ClassVar[list[int]] = []

    def write(self, example: Any, context: Any, *, role: str, other: Any) -> Any:
        self.said.append(0)
        return Draft({role: Reply(text=f"Yes {len(self.said)}")})


class _Judge(Frozen):
    """A percentage."""

    kind: Literal["broken"] = "broken"

    def judge(self, example: Any, reply: str) -> Any:
        return Verdict(87.0, "per cent")


class _Unreasoned(Frozen):
    """A zero without a word."""

    kind: Literal["broken"] = "broken"

    def judge(self, example: Any, reply: str) -> Any:
        return Verdict(0.0, "")


class _Miner(Frozen):
    """The first example, twice."""

    kind: Literal["broken"] = "broken"

    def select(self, examples: Any, context: Any) -> Any:
        return [Pick(one, {"why": "first"}) for one in [*examples[:1], *examples[:1]]]


class _Screen(Frozen):
    """Drops in silence."""

    kind: Literal["broken"] = "broken"

    def reject(self, pair: Any, around: Any) -> Any:
        return ""


class _Reweigher(Frozen):
    """By place."""

    kind: Literal["broken"] = "broken"

    def reweigh(self, weights: Any) -> Any:
        return [float(place) for place, _ in enumerate(weights)]


class _Undocumented(Frozen):
    kind: Literal["broken"] = "broken"

    def judge(self, example: Any, reply: str) -> Any:
        return Verdict(1.0, "fine")


class _Thawed(BaseModel):
    """Not frozen."""

    kind: Literal["broken"] = "broken"


class _Forgetful(Frozen):
    """A field that does not survive as data."""

    kind: Literal["broken"] = "broken"
    seed: int = 0

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {"kind": self.kind}


BROKEN: list[tuple[Registry, type[BaseModel], dict[str, Any], str]] = [
    (CORRUPTIONS, _DrawsWhileApplying, {}, "another image from stored parameters, or the second time"),
    (CORRUPTIONS, _LeaksOut, {}, "changes pixels outside the mask"),
    (CORRUPTIONS, _WritesIntoTheImage, {}, "writes into the clean image"),
    (CORRUPTIONS, _StoresAnArray, {}, "not JSON compliant"),
    (CORRUPTIONS, _ReadsItself, {"grey": 9}, "cannot be rebuilt from its parameters alone"),
    (LOCALIZERS, _Localizer, {}, "leaves the image"),
    (LOCALIZERS, _ListLocalizer, {}, "gives no tuple of regions"),
    (WRITERS, _Writer, {}, "refuses without a reason"),
    (WRITERS, _WrongRole, {}, r"writes \['chosen'\], asked for \['rejected'\]"),
    (WRITERS, _Moody, {}, "writes something else the second time"),
    (JUDGES, _Judge, {}, r"gives 87.0, which is neither None \(not judged\) nor in \[0, 1\]"),
    (JUDGES, _Unreasoned, {}, "gives no reason"),
    (MINERS, _Miner, {}, "picks an example twice"),
    (SCREENS, _Screen, {}, "drops a pair without a reason"),
    (REWEIGHERS, _Reweigher, {}, "depends on the order of pairs"),
    (JUDGES, _Undocumented, {}, "has no docstring of its own"),
    (JUDGES, _Thawed, {}, "is not frozen"),
    (JUDGES, _Forgetful, {"seed": 3}, "is not equal after a round trip as data"),
]


@pytest.mark.parametrize(("registry", "cls", "fields", "message"), BROKEN, ids=lambda v: getattr(v, "__name__", ""))
def test_a_broken_component_is_caught(
    registry: Registry, cls: Any, fields: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.classes()
    monkeypatch.setitem(registry._classes, "broken", cls)
    with pytest.raises((AssertionError, ValueError), match=message):
        check_component(cls(**fields))


def test_the_honest_ancestor_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    CORRUPTIONS.classes()
    monkeypatch.setitem(CORRUPTIONS._classes, "broken", _Corruption)
    check_component(_Corruption())


def test_an_unregistered_class_is_an_error() -> None:
    with pytest.raises(RecipeError, match="_Judge: not registered"):
        check_component(_Judge())


def test_the_suites_studies_hold_what_its_promises_are_about(tmp_path: Path) -> None:
    studies = make_studies(tmp_path)
    assert {image.ndim for image in studies.images} == {2, 3}
    assert {bool(example.regions) for example in studies.examples} == {True, False}
    assert {example.answer_type for example in studies.examples} == {"closed", "open", "report"}
    right = [studies.context.own[one.id].text == one.answer for one in studies.examples]
    assert 0.4 < np.mean(right) < 0.6
    assert all(example.images[0].locate(tmp_path).is_file() for example in studies.examples)
