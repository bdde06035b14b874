"""What turns densities into a film: vessel texture, mottle and grain, the tone curve, and the letters on the film."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

VESSEL_TREES = 24
_TREE_SEED = 7
_TONE_STEPS, _TONE_TOP = 4096, 1.6
_GRID = 20
_LETTERS = {
    "A": ("01110", "10001", "10001", "11111", "10001", "10001", "10001"),
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "P": ("11110", "10001", "10001", "11110", "10000", "10000", "10000"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
}


@functools.lru_cache(maxsize=8)
def vessel_trees(size_px: int) -> np.ndarray:
    """A bank of branching vessels around both hila, float32 [tree, row, column] in [0, 1]; always the same."""
    rng = np.random.default_rng(_TREE_SEED)
    return np.stack([_tree(rng, size_px) for _ in range(VESSEL_TREES)])


def _tree(rng: np.random.Generator, size_px: int) -> np.ndarray:
    scale = 4
    picture = Image.new("L", (size_px * scale, size_px * scale))
    pen = ImageDraw.Draw(picture)
    for side in (-1, 1):
        root = np.array([0.5 + side * 0.085, 0.44])
        for angle in np.linspace(-1.25, 1.35, 9) + rng.normal(0, 0.1, 9):
            _branch(pen, rng, root, angle=angle, side=side, length=0.11, width=0.016, unit=size_px * scale)
    picture = picture.filter(ImageFilter.GaussianBlur(0.005 * size_px * scale)).resize(
        (size_px, size_px), Image.Resampling.BOX
    )
    return np.asarray(picture, np.float32) / np.float32(255)


def _branch(
    pen: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    start: np.ndarray,
    *,
    angle: float,
    side: int,
    length: float,
    width: float,
    unit: int,
) -> None:
    """Draw one vessel and its branches; brightness falls with its width."""
    if width < 0.003:
        return
    end = start + length * rng.uniform(0.7, 1.1) * np.array([side * np.cos(angle), np.sin(angle)])
    shade = int(255 * min(1.0, (width / 0.016) ** 0.6))
    pen.line([*(start * unit), *(end * unit)], fill=shade, width=max(1, round(width * unit)))
    for turn in (rng.uniform(-0.6, -0.1), rng.uniform(0.1, 0.6)):
        _branch(
            pen,
            rng,
            end,
            angle=angle + turn,
            side=side,
            length=0.75 * length,
            width=width * rng.uniform(0.55, 0.72),
            unit=unit,
        )


def noise(seeds: np.ndarray, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Grain [study, row, column] of unit variance, and a coarse field of that shape for mottle and borders."""
    grain = np.empty((len(seeds), size_px, size_px), np.float32)
    coarse = np.empty((len(seeds), _GRID, _GRID), np.float32)
    for row, seed in enumerate(seeds):
        rng = np.random.default_rng(int(seed))
        coarse[row] = rng.standard_normal((_GRID, _GRID), np.float32)
        rng.standard_normal(dtype=np.float32, out=grain[row])
    spread = _spread(size_px)
    return grain, spread @ coarse @ spread.T


@functools.lru_cache(maxsize=8)
def _spread(size_px: int) -> np.ndarray:
    """Linear interpolation from the coarse grid to pixels, float32 [pixel, grid]."""
    place = (np.arange(size_px) + 0.5) / size_px * (_GRID - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(_GRID))).astype(np.float32)


def blur(density: np.ndarray) -> np.ndarray:
    """The screen's unsharpness: weights 1 2 1 along rows, then columns (edges repeat)."""
    padded = np.pad(density, ((0, 0), (1, 1), (0, 0)), mode="edge")
    density = 0.5 * density + 0.25 * (padded[:, :-2] + padded[:, 2:])
    padded = np.pad(density, ((0, 0), (0, 0), (1, 1)), mode="edge")
    return 0.5 * density + 0.25 * (padded[:, :, :-2] + padded[:, :, 2:])


@functools.lru_cache(maxsize=1)
def _tone_table() -> np.ndarray:
    density = np.linspace(0, _TONE_TOP, _TONE_STEPS)
    return (255 * density**1.25 / (1 + density**5) ** 0.25).astype(np.float32)


def tone(density: np.ndarray) -> np.ndarray:
    """Grey level [0, 255) of a density: nearly linear in the middle, with a shoulder towards white."""
    steps = np.clip(density * np.float32((_TONE_STEPS - 1) / _TONE_TOP), 0, _TONE_STEPS - 1)
    return _tone_table()[steps.astype(np.int16)]


@functools.lru_cache(maxsize=32)
def _stamp(word: str, size_px: int) -> np.ndarray:
    """A word's pixels, bool [row, column]; letters are 7 % of the film high."""
    rows = ["0".join(parts) for parts in zip(*(_LETTERS[letter] for letter in word), strict=True)]
    bits = np.array([[mark == "1" for mark in row] for row in rows])
    height = max(7, round(0.07 * size_px))
    width = max(bits.shape[1], round(bits.shape[1] * height / 7))
    down = np.arange(height) * 7 // height
    across = np.arange(width) * bits.shape[1] // width
    return bits[down][:, across]


def write_letters(film: np.ndarray, words: Sequence[str], *, sides: np.ndarray, jitter: np.ndarray) -> None:
    """Put each study's word into an upper corner of its film, in place (side 0: the picture's left)."""
    size_px = film.shape[-1]
    for row, word in enumerate(words):
        if word:
            stamp = _stamp(word, size_px)
            height, width = stamp.shape
            inset = round(size_px * (0.025 + 0.02 * float(jitter[row, 0])))
            top = round(size_px * (0.02 + 0.015 * float(jitter[row, 1])))
            start = inset if sides[row] == 0 else size_px - inset - width
            film[row, top : top + height, start : start + width][stamp] = 236
