"""Triton twin of `onefield.kernels.spherical_harmonics`."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device
from onefield.kernels.spherical_harmonics import NORMS

BLOCK = 256
_FACTORS = tuple(factor for band in NORMS for factor in band)


@triton.jit
def _forward_kernel(directions, out, count, factors: tl.constexpr, width: tl.constexpr, block: tl.constexpr):
    index = tl.program_id(0) * block + tl.arange(0, block)
    inside = index < count
    x = tl.load(directions + index * 3, mask=inside, other=0.0)
    y = tl.load(directions + index * 3 + 1, mask=inside, other=0.0)
    z = tl.load(directions + index * 3 + 2, mask=inside, other=0.0)
    row = out + index * width
    tl.store(row, factors[0] + 0.0 * x, mask=inside)
    if width > 1:
        tl.store(row + 1, factors[1] * y, mask=inside)
        tl.store(row + 2, factors[2] * z, mask=inside)
        tl.store(row + 3, factors[3] * x, mask=inside)
    if width > 4:
        tl.store(row + 4, factors[4] * x * y, mask=inside)
        tl.store(row + 5, factors[5] * y * z, mask=inside)
        tl.store(row + 6, factors[6] * (3 * z * z - 1), mask=inside)
        tl.store(row + 7, factors[7] * x * z, mask=inside)
        tl.store(row + 8, factors[8] * (x * x - y * y), mask=inside)
    if width > 9:
        tl.store(row + 9, factors[9] * y * (3 * x * x - y * y), mask=inside)
        tl.store(row + 10, factors[10] * x * y * z, mask=inside)
        tl.store(row + 11, factors[11] * y * (5 * z * z - 1), mask=inside)
        tl.store(row + 12, factors[12] * z * (5 * z * z - 3), mask=inside)
        tl.store(row + 13, factors[13] * x * (5 * z * z - 1), mask=inside)
        tl.store(row + 14, factors[14] * z * (x * x - y * y), mask=inside)
        tl.store(row + 15, factors[15] * x * (x * x - 3 * y * y), mask=inside)


def forward(directions: Tensor, degree: int) -> Tensor:
    """See `onefield.kernels.spherical_harmonics`."""
    count = directions.shape[0]
    out = directions.new_empty(count, degree**2)
    grid = (triton.cdiv(count, BLOCK),)
    with on_device(directions.device):
        _forward_kernel[grid](directions.contiguous(), out, count, _FACTORS, degree**2, BLOCK)
    return out
