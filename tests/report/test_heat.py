"""A map as a picture: see-through where it is 0, brighter where it is more, in the map's own grid."""

from __future__ import annotations

import base64
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medpref.report.heat import heat_uri
from medpref.report.values import LookMap


def pixels(values: list[int], rows: int) -> np.ndarray:
    uri = heat_uri(LookMap(example="e", kind="k", rows=rows, columns=len(values) // rows, values=tuple(values)))
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as picture:
        return np.asarray(picture.convert("RGBA")).astype(int)


def test_corners_by_hand() -> None:
    shown = pixels([0, 255, 110, 180, 0, 0], rows=2)
    assert shown.shape == (2, 3, 4)
    assert shown[0, 0, 3] == 0, "nothing is drawn where nothing was seen"
    assert shown[0, 1].tolist() == [255, 245, 150, 190]
    assert shown[0, 2, :3].tolist() == [205, 20, 60]
    assert shown[1, 0, :3].tolist() == [255, 130, 0]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_more_is_never_less_visible(values: list[int]) -> None:
    shown = pixels(values, rows=2).reshape(-1, 4)
    order = np.argsort(values, kind="stable")
    assert (np.diff(shown[order, 3]) >= 0).all()
    assert (np.diff(shown[order, 0]) >= 0).all()
    assert shown[:, 3].max() < 255, "the image stays visible"
