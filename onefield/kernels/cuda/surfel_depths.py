"""Triton twin of `onefield.kernels.surfel_depths`: a program a tile and a share, with a lane a pixel."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.gaussian_blending import pixel_grid, plain
from onefield.kernels.cuda.launch import on_device
from onefield.kernels.cuda.surfel_blending import meetings
from onefield.kernels.gaussian_blending import STOP
from onefield.kernels.gaussian_tiles import TILE, tile_grid

_PIXELS = tl.constexpr(TILE * TILE)
_STOP = tl.constexpr(STOP)


@triton.jit
def _depths_kernel(
    surfels, owners, offsets, shares, found, width, height, across, near, max_alpha, count: tl.constexpr
):
    place, inside, x, y = pixel_grid(across, width, height)
    number = tl.program_id(1)
    wanted = 1.0 - tl.load(shares + number)
    passing = tl.where(inside, 1.0, 0.0)
    depth = tl.full([_PIXELS], float("inf"), tl.float32)
    alive = inside
    pair = tl.load(offsets + tl.program_id(0))
    last = tl.load(offsets + tl.program_id(0) + 1)
    while pair < last:
        _, _, _, _, _, _, met, _, alpha = meetings(surfels, tl.load(owners + pair), x, y, near, max_alpha)
        after = passing * (1.0 - alpha)
        ends = after < _STOP
        passing = tl.where(ends, passing, after)
        reached = alive & (ends == 0) & (alpha > 0.0) & (passing <= wanted)
        depth = tl.where(reached, met, depth)
        alive = alive & (ends == 0) & (reached == 0)
        pair = tl.where(tl.max(alive.to(tl.int32), 0) > 0, pair + 1, last)
    tl.store(found + place * count + number, depth, mask=inside)


def depths_of_shares(
    surfels: Tensor,
    owners: Tensor,
    offsets: Tensor,
    shares: Tensor,
    width: int,
    height: int,
    near: float,
    max_alpha: float,
) -> Tensor:
    """See `onefield.kernels.surfel_depths`."""
    across, down = tile_grid(width, height)
    found = surfels.new_empty(height, width, len(shares))
    with on_device(surfels.device):
        if len(shares):
            _depths_kernel[(across * down, len(shares))](
                *plain(surfels, owners, offsets, shares), found, width, height, across, near, max_alpha, len(shares)
            )  # fmt: skip
    return found
