"""The embedded default source: synthetic chest radiographs with questions, masks and counterfactual films.

One row of a cohort becomes one PNG and about nine examples, such as::

    Example(id="train-000123-presence-effusion", patient="train-p000061", question="Is there a pleural effusion?",
            answer="Yes", kind="presence", choices=("yes", "no"), regions=(Region(label="pleural effusion", ...),),
            counterfactual=(ImageRef(...),), counterfactual_answer="No",
            tags={"finding": "pleural effusion", "polarity": "present", "shortcut": "aligned"})

Numbers measured on phantoms are synthetic and say nothing about clinical performance.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field, field_validator

from medpref import store
from medpref.imaging.mark import Box, paint_box
from medpref.registry import SOURCES
from medpref.schema import SPLITS, Example, Fact, Frozen, ImageRef, Region, Split
from medpref.sources.phantom_cohort import DEVICE, LESIONS, Cohort, facts
from medpref.sources.phantom_draw import GRAIN_GREY, Films, draw
from medpref.sources.phantom_questions import DEFAULT_KINDS, KINDS, ask
from medpref.sources.phantom_regions import regions
from medpref.sources.phantom_shortcut import draw_cohort
from medpref.sources.phantom_study import Asked

__all__ = ["Asked", "Batch", "Phantom", "draw", "draw_cohort", "phantom_batch"]

_CHUNK = 64


@SOURCES.add
class Phantom(Frozen):
    """Synthetic chest radiographs with a planted shortcut.

    With ``shortcut`` 0 findings do not depend on their cues, with 1 they are determined by them.
    """

    kind: Literal["phantom"] = "phantom"
    studies: int = Field(default=600, ge=1, description="studies of the train split")
    validation: int = Field(default=60, ge=0, description="studies of the validation split")
    test: int = Field(default=200, ge=0, description="studies of the test split")
    size_px: int = Field(default=128, ge=64, le=1024)
    shortcut: float = Field(default=0.9, ge=0, le=1, description="planted in train and validation")
    test_shortcut: float = Field(
        default=0.0, ge=0, le=1, description="planted in test: 0 breaks it in half the studies"
    )
    studies_per_patient: int = Field(default=2, ge=1, le=8)
    grain_grey: float = Field(default=GRAIN_GREY, ge=0, le=64, description="film grain in grey levels at mid-grey")
    questions: tuple[str, ...] = DEFAULT_KINDS
    counterfactuals: tuple[Split, ...] = Field(
        default=("validation", "test"), description="splits whose films without the finding are drawn"
    )

    @field_validator("questions")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise ValueError(f"question kinds among {', '.join(KINDS)}, not {unknown or 'none'}")
        return kinds

    @property
    def synthetic(self) -> bool:
        """Numbers from this source must be labelled synthetic."""
        return True

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """Yield the examples split by split, writing each film into ``out/blobs`` just before.

        Image paths are ``prefix/blobs/HASH.png``. Splits share no patient.
        """
        for split, count in zip(SPLITS, (self.studies, self.validation, self.test), strict=True):
            step = _CHUNK // self.studies_per_patient * self.studies_per_patient
            for start in range(0, count, step):
                indices = range(start, min(start + step, count))
                yield from self._chunk(out, split=split, indices=indices, seed=seed, prefix=prefix)  # type: ignore[arg-type]

    def _chunk(self, out: Path, *, split: Split, indices: range, seed: int, prefix: str) -> Iterator[Example]:
        shortcut = self.test_shortcut if split == "test" else self.shortcut
        per_patient = self.studies_per_patient
        cohort = draw_cohort(seed, split, indices, shortcut=shortcut, studies_per_patient=per_patient)
        films = draw(cohort, self.size_px, grain_grey=self.grain_grey)
        asked = ask(
            cohort, films, seed=seed, split=split, indices=indices, kinds=self.questions, per_patient=per_patient
        )
        drawn = asked if split in self.counterfactuals else ()
        without = _counterfactuals(cohort, drawn, size_px=self.size_px, grain_grey=self.grain_grey)
        desk = _Desk(out, prefix, cohort=cohort, films=films, counterfactuals=without)
        for one in asked:
            index = indices[one.study]
            yield desk.example(
                one, split=split, name=f"{split}-{index:06d}", patient=f"{split}-p{index // per_patient:06d}"
            )


Removal = tuple[int, tuple[str, ...]]


def _counterfactuals(
    cohort: Cohort, asked: Sequence[Asked], *, size_px: int, grain_grey: float
) -> dict[Removal, np.ndarray]:
    """The films that counterfactuals need, each drawn once, by (row, findings removed)."""
    wanted: dict[tuple[str, ...], list[int]] = {}
    for row, removed in sorted({(one.study, one.removed) for one in asked if one.removed}):
        wanted.setdefault(removed, []).append(row)
    if not wanted:
        return {}
    lacking = [cohort.take(np.array(rows)).without(removed) for removed, rows in wanted.items()]
    films = draw(functools.reduce(Cohort.join, lacking), size_px, grain_grey=grain_grey)
    keys = [(row, removed) for removed, rows in wanted.items() for row in rows]
    return dict(zip(keys, films.images, strict=True))


class _Desk:
    """Writes the films of one chunk, each once, and puts examples together."""

    def __init__(
        self, out: Path, prefix: str, *, cohort: Cohort, films: Films, counterfactuals: dict[Removal, np.ndarray]
    ) -> None:
        self._out, self._prefix, self._films, self._counterfactuals = out, prefix, films, counterfactuals
        self._facts = [facts(cohort, row) for row in range(len(cohort))]
        self._refs: dict[tuple[int, tuple[str, ...], Box | None], ImageRef] = {}
        self._regions: dict[int, dict[str, tuple[Region, ...]]] = {}

    def example(self, asked: Asked, *, split: Split, name: str, patient: str) -> Example:
        before = () if asked.prior is None else (self._ref(asked.prior),)
        film = self._ref(asked.study, box=asked.box)
        drawn = (asked.study, asked.removed) in self._counterfactuals
        other = (*before, self._ref(asked.study, asked.removed, box=asked.box)) if drawn else ()
        slug = f"-{asked.slug.replace(' ', '-')}" if asked.slug else ""
        return Example(
            id=f"{name}-{asked.kind}{slug}",
            patient=patient,
            images=(*before, film),
            question=asked.question,
            answer=asked.answer,
            split=split,
            kind=asked.kind,
            answer_type=asked.answer_type,
            choices=asked.choices,
            regions=self._shown(asked),
            facts=self._said(asked),
            counterfactual=other,
            counterfactual_answer=asked.counterfactual_answer if drawn else None,
            tags={"finding": asked.finding, "polarity": asked.polarity, "shortcut": asked.shortcut},
            source="phantom",
        )

    def _ref(self, row: int, removed: tuple[str, ...] = (), *, box: Box | None = None) -> ImageRef:
        key = (row, removed, box)
        if key not in self._refs:
            image = self._counterfactuals[row, removed] if removed else self._films.images[row]
            data = encode(image if box is None else paint_box(image, box))
            path = store.put_blob(self._out, data, ".png")
            self._refs[key] = ImageRef(path=f"{self._prefix}/{path}", sha256=Path(path).stem)
        return self._refs[key]

    def _shown(self, asked: Asked) -> tuple[Region, ...]:
        """The regions of what is asked about, on both films of a comparison; of a report, of every finding."""
        if asked.prior is not None:
            pair = enumerate((asked.prior, asked.study))
            found = [(index, region) for index, row in pair for region in self._found(row).get(asked.finding, ())]
            return tuple(region.model_copy(update={"image": index}) for index, region in found)
        names = (*asked.removed, DEVICE) if asked.kind == "report" else asked.removed
        return tuple(region for finding in names for region in self._found(asked.study).get(finding, ()))

    def _found(self, row: int) -> dict[str, tuple[Region, ...]]:
        if row not in self._regions:
            self._regions[row] = regions(self._films, row)
        return self._regions[row]

    def _said(self, asked: Asked) -> tuple[Fact, ...]:
        """The facts of the film, or of both films of a comparison; the finding asked about is among them."""
        if asked.prior is None:
            return self._known(asked.study, asked.finding)
        said = [(index, self._known(row, asked.finding)) for index, row in enumerate((asked.prior, asked.study))]
        return tuple(fact.model_copy(update={"image": index}) for index, facts in said for fact in facts)

    def _known(self, row: int, finding: str) -> tuple[Fact, ...]:
        known = self._facts[row]
        absent = finding in (*LESIONS, DEVICE) and finding not in known
        return (*known.values(), *((Fact(finding=finding, present=False),) if absent else ()))


def encode(image: np.ndarray) -> bytes:
    """PNG bytes of a film, compressed lightly: grain does not compress, and speed matters."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class Batch(NamedTuple):
    """Films uint8 [image, row, column] and questions; question ``asked[k]`` is about the images ``shown[k]``."""

    images: np.ndarray
    asked: list[Asked]
    shown: list[tuple[int, ...]]
    cohort: Cohort


def phantom_batch(
    seed: int,
    studies: int,
    *,
    size_px: int = 128,
    shortcut: float = 0.0,
    questions: Sequence[str] = DEFAULT_KINDS,
    first: int = 0,
) -> Batch:
    """Fresh studies ``first .. first + studies`` in memory, without touching disk: what pretraining draws every step.

    The first ``studies`` images are the films; framed films of region questions follow. Every study is a patient of its
    own, unless ``compare`` is asked.

    >>> batch = phantom_batch(0, 4, size_px=96)
    >>> batch.images.shape, batch.asked[0].study, batch.shown[0]
    ((4, 96, 96), 0, (0,))
    """
    per_patient = 2 if "compare" in questions else 1
    indices = range(first, first + studies)
    cohort = draw_cohort(seed, "batch", indices, shortcut=shortcut, studies_per_patient=per_patient)
    films = draw(cohort, size_px)
    asked = ask(cohort, films, seed=seed, split="batch", indices=indices, kinds=questions, per_patient=per_patient)
    images = list(films.images)
    shown: list[tuple[int, ...]] = []
    for one in asked:
        if one.box is not None:
            images.append(paint_box(films.images[one.study], one.box))
        here = one.study if one.box is None else len(images) - 1
        shown.append((here,) if one.prior is None else (one.prior, here))
    return Batch(np.stack(images), asked, shown, cohort)
