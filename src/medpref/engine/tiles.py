"""How a product of rows with a vocabulary matrix is cut into tiles, and the products themselves.

A tile is some rows x some columns of the vocabulary, and all tensors of that shape alive together stay within
``CHUNK_BYTES``. Few rows and a large vocabulary are read in one block of rows, so that each part of the matrix is
fetched once and serves every product while it is in a cache; many rows are cut into blocks only where tiles would be
narrower than the hidden states, for then the running sums of a block, ``[row, width]``, would be touched too often.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_BYTES = {"cpu": 16 << 20, "cuda": 512 << 20}
"""What the rows x columns tensors of one tile may take together: a CPU's cache, or enough to keep a GPU busy."""
NARROWEST = 1024
"""Columns below which a matrix product loses speed whatever the width."""


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def factor(dtype: torch.dtype, weight: Tensor) -> torch.dtype:
    """What products take: half precision on a GPU whose matrix has it, else the accumulator of ``dtype``."""
    half = weight.is_cuda and weight.dtype in (torch.bfloat16, torch.float16)
    return weight.dtype if half else accumulator(dtype)


def multiply(left: Tensor, right: Tensor, out: Tensor) -> None:
    """``out = left @ right``, accumulated in the dtype of ``out``."""
    if out.dtype == right.dtype:
        torch.mm(left, right, out=out)
    else:
        torch.mm(left, right, out_dtype=out.dtype, out=out)


def accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left @ right``, accumulated in the dtype of ``total``."""
    if total.dtype == right.dtype:
        total.addmm_(left.to(right.dtype), right)
    else:
        total.add_(torch.mm(left.to(right.dtype), right, out_dtype=total.dtype))


def row_blocks(rows: int, weight: Tensor, kinds: int, *, item: int, limit: int | None) -> list[slice]:
    """Rows in blocks of like size, such that ``kinds`` tensors of a block and ``NARROWEST`` columns fit the limit."""
    vocabulary, width = weight.shape
    columns = min(vocabulary, max(NARROWEST, width))
    return _even(rows, _allowed(weight, limit) // (columns * item * kinds))


def columns(live: int, weight: Tensor, *, item: int, limit: int | None) -> list[slice]:
    """The vocabulary in parts of like size, such that ``live`` rows of a part's columns fit the limit."""
    return _even(len(weight), _allowed(weight, limit) // (max(1, live) * item))


def _allowed(weight: Tensor, limit: int | None) -> int:
    return CHUNK_BYTES.get(weight.device.type, CHUNK_BYTES["cpu"]) if limit is None else limit


def _even(total: int, most: int) -> list[slice]:
    parts = -(-total // max(1, most))
    size = -(-total // max(1, parts))
    return [slice(start, min(start + size, total)) for start in range(0, total, max(1, size))]
