"""Pictures stay small, are stored once, and a patch on the clean image is the corrupt view."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from medpref.errors import DataError
from medpref.report.thumbnail import Thumbnails, changed_box, open_picture
from medpref.schema import ImageRef

PIXELS = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1]))


def _save(folder: Path, array: np.ndarray, name: str = "") -> ImageRef:
    held = io.BytesIO()
    Image.fromarray(array).save(held, "PNG")
    sha = hashlib.sha256(held.getvalue()).hexdigest()
    path = folder / f"{name or sha}.png"
    path.write_bytes(held.getvalue())
    return ImageRef(path=path.name, sha256=sha)


def _decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def _thumbnails(folder: Path, budget: int = 10**6, side: int = 64) -> Thumbnails:
    return Thumbnails(folder, budget=budget, side=side, open_image=open_picture)


@settings(deadline=None, max_examples=150)
@given(PIXELS, PIXELS)
def test_the_changed_box_is_the_smallest_outside_which_nothing_changed(a: np.ndarray, b: np.ndarray) -> None:
    box = changed_box(Image.fromarray(a), Image.fromarray(b))
    if box is None:
        assert (a == b).all()
        return
    left, top, right, bottom = box
    patched = a.copy()
    patched[top:bottom, left:right] = b[top:bottom, left:right]
    assert (patched == b).all()
    inside = (a != b)[top:bottom, left:right]
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


def test_pictures_of_unequal_size_are_not_compared() -> None:
    assert changed_box(Image.new("L", (3, 3)), Image.new("L", (4, 3))) is None


def test_grey_and_colour_are_compared_as_colours() -> None:
    grey, colour = Image.new("L", (3, 3), 9), Image.new("RGB", (3, 3), (9, 9, 9))
    assert changed_box(grey, colour) is None
    colour.putpixel((2, 1), (9, 9, 8))
    assert changed_box(grey, colour) == (2, 1, 3, 2)


def test_a_local_change_is_a_patch_that_lies_where_it_was_made(tmp_path: Path) -> None:
    clean = np.full((90, 120), 100, dtype=np.uint8)
    corrupt = clean.copy()
    corrupt[30:50, 60:100] = 200
    held = _thumbnails(tmp_path)
    base, patch, *box = held.view(_save(tmp_path, clean), _save(tmp_path, corrupt))
    assert box == [60, 30, 40, 20]
    assert (held.pictures[base]["w"], held.pictures[base]["h"]) == (120, 90)
    small = _decoded(held.pictures[patch]["u"])
    assert small.size == (round(40 * 64 / 120), round(20 * 64 / 120))
    assert abs(np.asarray(small.convert("L")).mean() - 200) < 4
    assert max(_decoded(held.pictures[base]["u"]).size) == 64


def test_a_change_all_over_is_a_picture_of_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 255, (40, 40), dtype=np.uint8)
    assert len(_thumbnails(tmp_path).view(_save(tmp_path, clean), _save(tmp_path, 255 - clean))) == 1


def test_an_unchanged_view_is_the_clean_picture(tmp_path: Path) -> None:
    ref = _save(tmp_path, np.zeros((8, 8), dtype=np.uint8))
    held = _thumbnails(tmp_path)
    assert held.view(ref, ref) == held.view(None, ref) == ["i0"]
    assert len(held.pictures) == 1


def test_the_budget_holds_and_can_be_extended(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    refs = [_save(tmp_path, rng.integers(0, 255, (64, 64), dtype=np.uint8)) for _ in range(8)]
    held = _thumbnails(tmp_path, budget=9000)
    first = [held.add(ref) for ref in refs]
    assert sum(len(picture["u"]) for picture in held.pictures.values()) <= 9000
    assert first[0] is not None
    assert first[-1] is None
    held.extend(10**6)
    assert all(held.add(ref) is not None for ref in refs)


def test_sixteen_bits_are_stretched(tmp_path: Path) -> None:
    ref = _save(tmp_path, np.array([[1000, 1000], [3000, 2000]], dtype=np.uint16))
    assert np.asarray(open_picture(tmp_path / ref.path)).tolist() == [[0, 0], [255, 127]]


def test_colour_stays_colour(tmp_path: Path) -> None:
    ref = _save(tmp_path, np.full((4, 4, 3), (200, 10, 10), dtype=np.uint8))
    assert open_picture(tmp_path / ref.path).getpixel((0, 0)) == (200, 10, 10)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_what_cannot_be_read_is_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert _thumbnails(tmp_path).view(None, ImageRef(path="x.png", sha256="0" * 64)) == []
    assert _thumbnails(tmp_path).view(None, ImageRef(path="missing.png", sha256="0" * 64)) == []


def test_another_reader_may_be_given_and_may_refuse(tmp_path: Path) -> None:
    def refuse(path: Path) -> Image.Image:
        raise DataError(str(path), given="a CT", expected="a film", todo="convert it")

    ref = ImageRef(path="x.dcm", sha256="0" * 64)
    assert Thumbnails(tmp_path, budget=10**6, side=8, open_image=refuse).add(ref) is None
    white = Thumbnails(tmp_path, budget=10**6, side=8, open_image=lambda path: Image.new("L", (16, 16), 255))
    assert white.add(ref) == "i0"
