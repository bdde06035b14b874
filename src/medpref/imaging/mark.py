"""A box painted into an image, and the boxes around and opposite to it. Boxes are half-open, in pixels."""

from __future__ import annotations

from medpref.imaging.decode import Pixels

Box = tuple[int, int, int, int]
WHITE = 255


def paint_box(image: Pixels, box: Box) -> Pixels:
    """A copy of the image with a white frame just inside the box, `frame_px` wide."""
    left, top, right, bottom = box
    width = frame_px(image.shape[0])
    framed = image.copy()
    framed[top:bottom, left:right] = WHITE
    inner = (slice(top + width, bottom - width), slice(left + width, right - width))
    framed[inner] = image[inner]
    return framed


def frame_px(height: int) -> int:
    """How wide a frame is in an image of this height."""
    return max(1, height // 96)


def framed(box: Box, *, width: int, height: int) -> Box:
    """The box whose painted frame leaves ``box`` free, a pixel aside; cut at the edges of the image.

    >>> framed((10, 20, 30, 40), width=128, height=128)
    (8, 18, 32, 42)
    """
    left, top, right, bottom = box
    room = frame_px(height) + 1
    return max(left - room, 0), max(top - room, 0), min(right + room, width), min(bottom + room, height)


def mirrored(box: Box, *, width: int) -> Box:
    """The box on the other side of the image's vertical midline.

    >>> mirrored((10, 20, 30, 40), width=128)
    (98, 20, 118, 40)
    """
    left, top, right, bottom = box
    return width - right, top, width - left, bottom
